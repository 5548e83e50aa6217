"""How far a synthetic cohort is from a real one: distributions compared, and a classifier that tells patches apart."""

from lesionloss.realism.checking import Asked, Check, check
from lesionloss.realism.comparison import Row

__all__ = ["Asked", "Check", "Row", "check"]
