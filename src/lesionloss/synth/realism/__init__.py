"""How far a synthetic cohort is from a real one: distributions compared, and a classifier that tells patches apart."""

from lesionloss.synth.realism.check import Asked, Check, check
from lesionloss.synth.realism.distances import Row

__all__ = ["Asked", "Check", "Row", "check"]
