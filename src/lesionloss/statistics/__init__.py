"""What a run shows about its losses. The unit is the patient; tests and their sides are declared before the run."""

from lesionloss.statistics.comparison import Comparison, EmptyReference, best_loss, compare, compare_losses
from lesionloss.statistics.evidence import Interval
from lesionloss.statistics.paired_differences import PairedDifference, paired_rows
from lesionloss.statistics.power_analysis import PowerAnalysis, analyse_power
from lesionloss.statistics.ranks import LossRank, rank_losses
from lesionloss.statistics.seed_variability import SeedVariability, measure_seed_variability
from lesionloss.statistics.summaries import LossSummary, summarise
from lesionloss.statistics.variance_components import VarianceComponent, estimate_components

__all__ = [
    "Comparison",
    "EmptyReference",
    "Interval",
    "LossRank",
    "LossSummary",
    "PairedDifference",
    "PowerAnalysis",
    "SeedVariability",
    "VarianceComponent",
    "analyse_power",
    "best_loss",
    "compare",
    "compare_losses",
    "estimate_components",
    "measure_seed_variability",
    "paired_rows",
    "rank_losses",
    "summarise",
]
