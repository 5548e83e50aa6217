"""What a run shows about its losses. The unit is the patient; no test and no side is chosen by looking at the data."""

from lesionloss.statistics.comparison import Comparison, EmptyReference, best_loss, compare
from lesionloss.statistics.differences import Difference, declared_test, paired_rows
from lesionloss.statistics.evidence import Interval
from lesionloss.statistics.power import Outlook, outlook
from lesionloss.statistics.ranks import Rank, ranks
from lesionloss.statistics.seed_variability import Luck, luck_of_the_seed
from lesionloss.statistics.summaries import Summary, summarise
from lesionloss.statistics.variance_components import Component, components

__all__ = [
    "Comparison",
    "Component",
    "Difference",
    "EmptyReference",
    "Interval",
    "Luck",
    "Outlook",
    "Rank",
    "Summary",
    "best_loss",
    "compare",
    "components",
    "declared_test",
    "luck_of_the_seed",
    "outlook",
    "paired_rows",
    "ranks",
    "summarise",
]
