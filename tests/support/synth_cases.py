"""Settings and voxels of the tests of synthetic patients: coarse, to be fast."""

from lesionloss.synth import SynthSettings
from lesionloss.synth.anatomy import Sampling

SETTINGS = SynthSettings(spacing_mm=3.0)
ONE = (1, 1, 1)


def isotropic(spacing_mm: float) -> Sampling:
    return Sampling((spacing_mm,) * 3, ONE)
