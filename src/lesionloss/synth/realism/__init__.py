"""How far a synthetic cohort is from a real one: distributions compared, and patches classified."""

from lesionloss.synth.realism.check import CheckRequest, RealismCheck, check_realism
from lesionloss.synth.realism.distances import QuantityDistance

__all__ = ["CheckRequest", "QuantityDistance", "RealismCheck", "check_realism"]
