"""From images as they come from the scanner to new lesions, with a trained network."""

from lesionloss.predict.cases import Done, predict_case, predict_sources
from lesionloss.predict.computing import Asked
from lesionloss.predict.sources import Source, source_of_files, sources_in

__all__ = ["Asked", "Done", "Source", "predict_case", "predict_sources", "source_of_files", "sources_in"]
