"""From images as they come from the scanner to new lesions, with a trained network."""

from lesionloss.inference.predict.predict_cases import predict_cases
from lesionloss.inference.predict.predict_in_memory import PredictSettings, judged_mode, own_sliding_window
from lesionloss.inference.predict.predict_inputs import CaseSource, source_of_files, sources_in
from lesionloss.inference.predict.predict_one import PredictedCase, predict_case

__all__ = [
    "CaseSource",
    "PredictSettings",
    "PredictedCase",
    "judged_mode",
    "own_sliding_window",
    "predict_case",
    "predict_cases",
    "source_of_files",
    "sources_in",
]
