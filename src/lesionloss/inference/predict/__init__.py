"""From images as they come from the scanner to new lesions, with a trained network."""

from lesionloss.inference.predict.predict_cases import Done, predict_case, predict_sources
from lesionloss.inference.predict.predict_inputs import Source, source_of_files, sources_in
from lesionloss.inference.predict.probabilities import Asked

__all__ = ["Asked", "Done", "Source", "predict_case", "predict_sources", "source_of_files", "sources_in"]
