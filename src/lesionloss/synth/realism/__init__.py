"""How far a synthetic cohort is from a real one: distributions compared, and a classifier that tells patches apart."""

from lesionloss.synth.realism.check import CheckRequest, RealismCheck, check_realism
from lesionloss.synth.realism.distances import QuantityDistance

__all__ = ["CheckRequest", "QuantityDistance", "RealismCheck", "check_realism"]
