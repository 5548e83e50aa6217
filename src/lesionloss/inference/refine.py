"""What a model's record lets follow the network: no lesions near the brain's surface, fusion with the difference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.data.prepared import PreparedCase
from lesionloss.inference.difference_threshold import depth_below_surface_mm, smoothed_difference
from lesionloss.networks.bundle import BundleRecord


@dataclass(frozen=True)
class Refinement:
    """How probabilities are changed after the network; the defaults change nothing.

    Attributes:
        depth_mm: The probability is 0 nearer than this to the outside of the brain mask.
        fusion_rise: The difference of matched visits, smoothed by 1 mm in plane, that counts as even odds.
        fusion_width: How fast the odds change with it, in standard deviations; 0: no fusion. The fused
            probability is sqrt(p · sigmoid((difference - fusion_rise) / fusion_width)).
    """

    depth_mm: float = 0.0
    fusion_rise: float = 0.6
    fusion_width: float = 0.0


def refinement_of(record: BundleRecord) -> Refinement:
    """The rule that a model's record states."""
    return Refinement(record.depth_mm, record.fusion_rise, record.fusion_width)


def refined(probabilities: NDArray[np.float32], case: PreparedCase, rule: Refinement) -> NDArray[np.float32]:
    """Apply the rule to probabilities (L, *space) on the case's grid.

    Raises:
        DataError: The rule has a fusion and the case has no difference channel.
    """
    found = probabilities
    if rule.fusion_width:
        odds = (smoothed_difference(case, 1.0) - rule.fusion_rise) / rule.fusion_width
        found = np.sqrt(found / (1 + np.exp(-odds.astype(np.float64)))).astype(np.float32)
    if rule.depth_mm:
        deep = depth_below_surface_mm(case.brain, case.spacing_mm) >= rule.depth_mm
        found = np.where(deep, found, np.float32(0))
    return found
