"""Write the results of a case: mask, probabilities, table of lesions, picture sheet, record."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.files import write_text
from lesionloss.core.version import __version__
from lesionloss.data.nifti import write_volume
from lesionloss.inference import ChosenMode, lesion_mask, lesion_probability
from lesionloss.inference.predict.lesion_rows import FoundLesion, write_lesions
from lesionloss.inference.predict.output_files import OutputFiles
from lesionloss.inference.predict.plausibility import plain_findings
from lesionloss.inference.predict.replay_preparation import ReadyCase
from lesionloss.networks.bundle import BundleRecord


@dataclass(frozen=True)
class LesionRule:
    """What a lesion is: voxels by a decision, of more than a volume, connected by so many neighbours."""

    threshold: float
    min_volume_mm3: float
    connectivity: int
    decision: str = "threshold"

    def mask(self, probabilities: NDArray[np.float32], voxel_mm3: float) -> NDArray[np.uint8]:
        """Class numbers (*space) from probabilities (L, *space)."""
        return lesion_mask(
            probabilities,
            threshold=self.threshold,
            min_volume_mm3=self.min_volume_mm3,
            connectivity=self.connectivity,
            voxel_mm3=voxel_mm3,
            decision=self.decision,
        )

    def __str__(self) -> str:
        """The rule in words, for a caption."""
        volume = f", more than {self.min_volume_mm3:g} mm³" if self.min_volume_mm3 else ""
        return f"{_RULES[self.decision].format(self.threshold)}{volume}"


_RULES = {"threshold": "probability of at least {:g}", "argmax": "more probable than the background"}


def write_results(
    files: OutputFiles,
    ready: ReadyCase,
    probabilities: NDArray[np.float32],
    mask: NDArray[np.uint8],
    lesions: Sequence[FoundLesion],
    classes: Sequence[str],
) -> None:
    """Write mask, probability of any lesion, that of each class where there are several, and the table of lesions.

    Args:
        files: Where to.
        ready: The case.
        probabilities: (L, *space), on the follow-up's own grid.
        mask: Class numbers (*space), on the same grid.
        lesions: Of the mask.
        classes: Names of the L lesion classes.
    """
    write_volume(files.mask, _volume(mask), ready.affine)
    write_volume(files.probability, _volume(lesion_probability(probabilities)), ready.affine)
    for kind, part in zip(classes, probabilities, strict=True):
        if len(classes) > 1:
            write_volume(files.probability_of(kind), _volume(part), ready.affine)
    write_lesions(files.lesions, lesions)


def _volume(array: NDArray[Any]) -> NDArray[Any]:
    return array if array.ndim == 3 else array[..., None]


def write_picture(
    path: Path,
    ready: ReadyCase,
    probabilities: NDArray[np.float32],
    rule: LesionRule,
    title: str,
    model: str,
) -> None:
    """Draw the picture sheet of a case from its probabilities (L, *space) on the prepared grid."""
    from lesionloss.inference.predict.picture_sheet import SheetContent, save_sheet

    content = SheetContent(
        case=ready.case,
        mask=rule.mask(probabilities, float(np.prod(ready.case.spacing_mm))),
        probability=lesion_probability(probabilities),
        title=title,
        subtitle=f"{model}; {rule}",
        has_reference=ready.has_reference,
        connectivity=rule.connectivity,
        remarks=tuple(found.words for found in ready.findings if found.words),
    )
    save_sheet(path, content)


def write_record(
    path: Path,
    inputs: dict[str, Any],
    model: BundleRecord,
    ready: ReadyCase,
    chosen: ChosenMode,
    lesions: Sequence[FoundLesion],
    seconds: float,
) -> None:
    """Write prediction.json: what the result was made from and how; `inputs` decide whether it is made again."""
    record = inputs | {
        "lesionloss": __version__,
        "inference_mode": str(chosen.mode),
        "reason": chosen.reason,
        "lesions": len(lesions),
        "volume_mm3": round(sum(lesion.volume_mm3 for lesion in lesions), 3),
        "implausible": [found.words for found in ready.findings if found.words],
        "plausibility": plain_findings(ready.findings),
        "field_of_view": ready.steps.get("field_of_view"),
        "notes": list(ready.remarks),
        "preparation": dict(ready.steps),
        "seconds": round(seconds, 2),
        "licence": model.licence,
        "data_note": model.data_note,
        "not_a_medical_device": True,
    }
    write_text(path, json.dumps(record, indent=1) + "\n")


def count_sentence(lesions: Sequence[FoundLesion], new: bool) -> str:
    """`3 new lesions, 412 mm³`; `new` where there were two visits."""
    kind = "new lesion" if new else "lesion"
    if not lesions:
        return f"no {kind}"
    volume = sum(lesion.volume_mm3 for lesion in lesions)
    return f"{len(lesions)} {kind}{'s' if len(lesions) > 1 else ''}, {volume:.0f} mm³"
