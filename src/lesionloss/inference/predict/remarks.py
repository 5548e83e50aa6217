"""Remarks on how the images of a prediction were prepared, for those who look at it, one line each."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lesionloss.data.preparation.case_state import PreparationState
from lesionloss.data.preparation.recipe import PreparationRecipe
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.volume import orientation

OTHER_SPACING = 1.25  # times the edge that a model was trained on


def of_steps(work: PreparationState, why_registered: str) -> Iterator[str]:
    """Registration, bias fields, a simple brain mask, resampling: what changed the images."""
    done = work.record
    if "register" in done:
        found = done["register"]
        before, after = found["mutual_information"]
        to = "to the follow-up" if found["to"] == "followup" else "and follow-up to the space between them"
        yield (
            f"baseline registered {to} ({why_registered}): {found['rotation_degrees']:.1f} degrees, "
            f"{found['shift_mm']:.1f} mm, mutual information {before:.2f} -> {after:.2f}; "
            "check in the pictures that both visits show the same slice"
        )
    if "n4" in done:
        yield "bias fields removed (N4)"
    if done.get("brain", {}).get("from") == "threshold":
        yield (
            "no brain mask given: a simple one was computed, which keeps parts of the skull, so expect false positives "
            "at its edge; install deepbet (pip install 'lesionloss[brain]'), or give a mask with --brain"
        )
    elif str(done.get("brain", {}).get("from")).startswith("tool "):
        yield f"no brain mask given: made by {done['brain']['from'].removeprefix('tool ')}"
    seen = done.get("field_of_view", {})
    if seen.get("share_of_brain", 1.0) < 0.9995:  # else it reads 100.0 %
        yield f"field of view: both visits show {seen['share_of_brain']:.1%} of the brain; nothing is marked outside"
    if "resample" in done:
        edges = " x ".join(f"{edge:g}" for edge in done["resample"]["to_mm"])
        yield f"predicted on voxels of {edges} mm, as the model was trained; results are in the follow-up's own grid"


def of_grid(case: PreparedCase, training: Mapping[str, Any]) -> Iterator[str]:
    """Voxels of another size, or axes in another order, than those of the images that the model was trained on."""
    edges = training.get("spacing_mm")
    if isinstance(edges, list | tuple) and len(edges) == len(case.spacing_mm):
        ratios = [here / there for here, there in zip(case.spacing_mm, edges, strict=True) if there]
        if any(not 1 / OTHER_SPACING < ratio < OTHER_SPACING for ratio in ratios):
            yield (
                f"the model was trained on voxels of {_by(edges)} mm, these are {_by(case.spacing_mm)} mm: "
                "expect worse results; resample the images, or train with the step resample"
            )
    axes = training.get("axes")
    if isinstance(axes, str) and len(case.spacing_mm) == 3 and _lines(axes) != _lines(orientation(case.affine)):
        yield (
            f"the axes of the images run {orientation(case.affine)}, those that the model was trained on {axes}: "
            "expect worse results; store the images in the same order"
        )


def of_headers(unplaced: Sequence[Path]) -> Iterator[str]:
    """Images whose header does not say where they lie."""
    if unplaced:
        yield (
            f"no orientation in the header of {', '.join(path.name for path in unplaced)} (qform and sform codes are "
            "0): which side is left is a guess; copy qform and sform from the images that these were made from"
        )


def of_prepared(record: Mapping[str, Any], recipe: PreparationRecipe) -> tuple[str, ...]:
    """A line where a prepared case was made by other steps than the model's training cases."""
    made = record.get("made_from", {}).get("preparation") if isinstance(record.get("made_from"), dict) else None
    wanted = recipe.settings()
    if not isinstance(made, dict):
        return ()
    differ = sorted(key for key in {*made, *wanted} - {"crop"} if made.get(key) != wanted.get(key))
    if not differ:
        return ()
    return (
        f"prepared in another way than the model's training cases: {', '.join(differ)} differ; expect worse results",
    )


def _lines(axes: str) -> list[str]:
    """The same letter for both directions along a line: networks see mirror images in training."""
    return [{"L": "R", "P": "A", "I": "S"}.get(letter, letter) for letter in axes]


def _by(edges: Any) -> str:
    return " x ".join(f"{float(edge):g}" for edge in np.asarray(edges))
