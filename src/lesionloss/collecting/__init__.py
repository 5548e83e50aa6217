"""Make a run folder of predictions that others made: `collect` finds, checks and scores them.

What a benchmark knows and a collection does not (seeds, steps, machine, initial weights) is written down as unknown.
"""

from lesionloss.collecting.collect import collect
from lesionloss.collecting.found_predictions import Prediction

__all__ = ["Prediction", "collect"]
