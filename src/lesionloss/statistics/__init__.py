"""What a run shows about its losses. The unit is the patient; no test and no side is chosen by looking at the data."""

from lesionloss.evidence import Interval
from lesionloss.statistics.comparison import Comparison, EmptyReference, best_loss, compare
from lesionloss.statistics.components import Component, components
from lesionloss.statistics.differences import Difference, declared_test, paired_rows
from lesionloss.statistics.luck import Luck, luck_of_the_seed
from lesionloss.statistics.power import Outlook, outlook
from lesionloss.statistics.ranks import Rank, ranks
from lesionloss.summaries import Summary, summarise

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
