"""What a run shows about its losses. The unit is the patient; tests and their sides are declared before the run."""

from lesionloss.statistics.comparison import Comparison, EmptyReference, compare, compare_losses
from lesionloss.statistics.evidence import Interval
from lesionloss.statistics.noise_floor import NoiseFloor, measure_noise_floor
from lesionloss.statistics.pairs import paired_rows
from lesionloss.statistics.pilot_spread import StudyDesign
from lesionloss.statistics.power_analysis import (
    PowerAnalysis,
    PowerNumbers,
    analyse_power,
    detectable_at_best,
    seeds_needed,
)
from lesionloss.statistics.ranks import LossRank, best_loss, rank_losses
from lesionloss.statistics.seed_variability import SeedVariability, measure_seed_variability
from lesionloss.statistics.summaries import LossSummary, summarise
from lesionloss.statistics.variance_components import VarianceComponent, estimate_components
from lesionloss.statistics.verdicts import Chances, PairedDifference

__all__ = [
    "Chances",
    "Comparison",
    "EmptyReference",
    "Interval",
    "LossRank",
    "LossSummary",
    "NoiseFloor",
    "PairedDifference",
    "PowerAnalysis",
    "PowerNumbers",
    "SeedVariability",
    "StudyDesign",
    "VarianceComponent",
    "analyse_power",
    "best_loss",
    "compare",
    "compare_losses",
    "detectable_at_best",
    "estimate_components",
    "measure_noise_floor",
    "measure_seed_variability",
    "paired_rows",
    "rank_losses",
    "seeds_needed",
    "summarise",
]
