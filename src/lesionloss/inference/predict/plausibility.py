"""Is this a pair of visits that a prediction means something for? Each finding is a number beside its limits.

The limits were set from real pairs, synthetic ones and pairs that are none (docs/howto/predict.md has the table).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.data.prepared import PreparedCase
from lesionloss.data.subject import Image, Mask
from lesionloss.data.visit_matching import correlation
from lesionloss.data.z_score import NORMAL_MAD

ONE_HEAD, ALIGNED, ONE_SCAN = 0.7, 0.8, 0.99  # correlation: two heads below, misaligned below, one scan above
CONTRAST = 0.2  # largest mean distance of the quantiles, in standard deviations
NOISE = 2.0  # largest ratio of the noise of the visits
EDGE = 1.25  # largest ratio of the edges of their voxels
SEEN = 0.9  # smallest share of the brain that both visits show
OVERLAP = 0.5  # below this there is too little to compare
SHARE = 0.02  # largest share of the brain that is marked
LESIONS = 150  # most lesions
FEWEST = 10_000  # voxels in the brain; with fewer nothing is said
_QUANTILES = np.linspace(0.01, 0.99, 99)


@dataclass(frozen=True)
class Finding:
    """What was measured on a pair, and what is plausible.

    Attributes:
        measure: Its name.
        value: What was measured.
        limits: The lowest and the highest plausible value; None: no limit.
        words: What an implausible value means; empty for a plausible one.
        refused: Whether it shows that these are not two visits of one head.
    """

    measure: str
    value: float
    limits: tuple[float | None, float | None]
    words: str = ""
    refused: bool = False


def plain_findings(findings: Sequence[Finding]) -> dict[str, Any]:
    """The findings as plain values, by measure."""
    return {found.measure: {key: asdict(found)[key] for key in ("value", "limits", "words")} for found in findings}


def of_visits(
    case: PreparedCase, steps: Mapping[str, Any], edges_mm: Sequence[tuple[float, ...]]
) -> tuple[Finding, ...]:
    """Compare the two visits of a prepared case.

    Args:
        case: With the channels that a network gets; only the first contrast of each visit counts.
        steps: What each step of its preparation did.
        edges_mm: Edges of the voxels of either visit as stored, in one order of axes; empty where not known.

    Returns:
        A finding for each measure; none for a single visit or a tiny brain.
    """
    visits = [[n for n, name in enumerate(case.channels) if name.startswith(key)] for key in ("baseline", "followup")]
    if not all(visits) or np.count_nonzero(case.brain) < FEWEST:
        return ()
    baseline, followup = (case.image[channels[0]] for channels in visits)
    inside = [baseline[case.brain], followup[case.brain]]
    alike = float(steps.get("match", {}).get("correlation_before", correlation(*inside)))
    quantiles = [np.quantile(_standardised(values), _QUANTILES) for values in inside]
    apart = float(np.abs(quantiles[0] - quantiles[1]).mean())
    noise = [noise_of(visit, case.brain, case.spacing_mm) for visit in (baseline, followup)]
    alignment = _of_correlation(alike, registered="register" in steps)
    found = [alignment, _of_contrast(apart), _of_noise(*noise), _of_field(steps)]
    if len(edges_mm) == 2:
        found.append(_of_voxels(*edges_mm))
    return tuple(found)


def of_lesions(case: PreparedCase, marked_mm3: float, lesions: int) -> tuple[Finding, ...]:
    """Judge a prediction by the share of the brain that it marks and by the number of lesions."""
    brain_mm3 = float(np.count_nonzero(case.brain) * np.prod(case.spacing_mm))
    share = marked_mm3 / brain_mm3 if brain_mm3 else 0.0
    much = (
        f"{share:.1%} of the brain is marked, more than in any of 19 patients (at most 1.5 %)" if share > SHARE else ""
    )
    many = f"{lesions} lesions, more than in any of 19 patients (at most 141)" if lesions > LESIONS else ""
    advice = ": check brain mask and registration in the pictures"
    return (
        Finding("share_of_brain_marked", round(share, 5), (None, SHARE), much and f"{much}{advice}"),
        Finding("lesions", lesions, (None, LESIONS), many and f"{many}{advice}"),
    )


def noise_of(image: Image, brain: Mask, spacing_mm: tuple[float, ...]) -> float:
    """The noise of an image inside the brain, from differences between neighbours along both of its finest axes.

    Args:
        image: Intensities (*space).
        brain: Brain mask (*space).
        spacing_mm: Edge lengths of a voxel.

    Returns:
        Standard deviation of the noise over that of the brain's intensities; edges count little.
    """
    first, second = sorted(np.argsort(spacing_mm)[:2].tolist())
    bends = np.diff(np.diff(image, axis=first), axis=second)
    inner = _shared(_shared(brain, first), second)
    values = bends[inner] if inner.any() else bends.ravel()
    spread = float(image[brain].std())
    return NORMAL_MAD * float(np.median(np.abs(values - np.median(values)))) / 2 / spread if spread else 0.0


def _shared(mask: Mask, axis: int) -> Mask:
    """Neighbours along an axis that both lie inside a mask."""
    return np.asarray(np.delete(mask, 0, axis) & np.delete(mask, -1, axis))


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray((values - values.mean()) / max(float(values.std()), 1e-12), dtype=np.float32)


def _of_correlation(value: float, *, registered: bool) -> Finding:
    words, refused = "", True
    moved = "or the registration failed" if registered else "or visits not aligned (try --raw)"
    shown = f"the visits correlate by {value:.2f} inside the brain"
    if value < 0:
        words = f"{shown}: another contrast, as T1 and FLAIR; give the same contrast twice"
    elif value < ONE_HEAD:
        words = f"{shown} (real pairs: .86 and more): another patient or contrast, {moved}"
    elif value > ONE_SCAN:
        words = f"{shown}: one scan, given twice; supply two different visits"
    elif value < ALIGNED:
        refused = False
        advice = "check in the pictures that both visits show the same slice" if registered else "try --raw"
        words = f"{shown} (real pairs: .86 and more): misaligned by a millimetre or more, or much noise; {advice}"
    return Finding("correlation", value, (ALIGNED, ONE_SCAN), words, refused and bool(words))


def _of_contrast(apart: float) -> Finding:
    words = f"the histograms of the visits differ by {apart:.2f} standard deviations: another protocol or contrast"
    return Finding("contrast_distance", round(apart, 4), (None, CONTRAST), words if apart > CONTRAST else "")


def _of_noise(baseline: float, followup: float) -> Finding:
    ratio = followup / baseline if baseline and followup else 1.0
    noisier = "follow-up" if ratio > 1 else "baseline"
    words = (
        f"the {noisier} is {max(ratio, 1 / ratio):.1f} times as noisy as the other visit: motion or another protocol"
    )
    return Finding("noise_ratio", round(ratio, 4), (1 / NOISE, NOISE), "" if 1 / NOISE <= ratio <= NOISE else words)


def _of_field(steps: Mapping[str, Any]) -> Finding:
    shares = [steps.get(step, {}).get("share_of_brain", 1.0) for step in ("register", "field_of_view")]
    seen = float(min(*shares, steps.get("brain", {}).get("shared", 1.0)))
    words = f"both visits show {seen:.0%} of the brain only: nothing is found outside"
    return Finding("field_of_view", seen, (SEEN, None), words if seen < SEEN else "", seen < OVERLAP)


def _of_voxels(baseline: tuple[float, ...], followup: tuple[float, ...]) -> Finding:
    ratios = [max(one / other, other / one) for one, other in zip(sorted(baseline), sorted(followup), strict=True)]
    shown = [" x ".join(f"{edge:.2g}" for edge in edges) for edges in (baseline, followup)]
    words = f"the protocol changed: voxels of {shown[0]} mm, then of {shown[1]} mm"
    ratio = max(ratios)
    return Finding("voxel_edge_ratio", round(ratio, 4), (None, EDGE), words if ratio > EDGE else "")
