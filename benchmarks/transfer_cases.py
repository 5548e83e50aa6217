"""Cases for `transfer.py`: synthetic patients whose references are outlined as people outline, and real patients."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy import ndimage

from lesionloss.core.files import atomic_file, write_text
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.preparation.prepare_case import prepare_subject
from lesionloss.data.preparation.recipe import PreparationRecipe
from lesionloss.data.prepared import PreparedCase, load_prepared, save_prepared
from lesionloss.data.subject import Subject
from lesionloss.data.visible_lesions import outlined, visible_only
from lesionloss.inference.difference_threshold import depth_below_surface_mm
from lesionloss.synth import SyntheticPatient, SynthSettings, synthesise

MATCHED = PreparationRecipe(steps=("orient", "brain", "crop", "normalise", "match", "subtract"))


@dataclass(frozen=True)
class Outline:
    """How references are drawn.

    Attributes:
        share: The share of a lesion's highest signal at which it is outlined; 0: the exact reference.
        visible: Smallest mean difference of a reference lesion in standard deviations; 0: all.
        edge_mm: Voxels nearer to the outside of the brain mask do not count in training.
    """

    share: float
    visible: float
    edge_mm: float

    def of(self, case: PreparedCase, rise: NDArray[np.float32]) -> PreparedCase:
        """Return the case with its reference as drawn."""
        case = outlined(case, rise, self.share) if self.share else case
        case = visible_only(case, self.visible) if self.visible else case
        shallow = depth_below_surface_mm(case.brain, case.spacing_mm) < self.edge_mm
        return replace(case, ignore=shallow & case.brain if self.edge_mm else None)


def synthetic_cases(
    folder: Path, count: int, seed: int, settings: SynthSettings, outline: Outline, jitter_mm: float = 0.0
) -> list[PreparedCase]:
    """Draw and prepare the first `count` patients of a cohort, except those that the folder holds already.

    Args:
        folder: Where the cases are kept.
        count: Number of patients.
        seed: Of the cohort.
        settings: Of the generator.
        outline: How references are drawn.
        jitter_mm: Standard deviation by which the border of the brain mask is moved; see `jittered`.

    Raises:
        BadParameter: The folder holds cases of other settings.
    """
    made_of = {"seed": seed, "settings": settings.model_dump(mode="json")} | (
        {"jitter_mm": jitter_mm} if jitter_mm else {}
    )
    declared = json.dumps(made_of, indent=1) + "\n"
    stored = folder / "settings.json"
    if stored.exists() and stored.read_text(encoding="utf-8") != declared:
        raise typer.BadParameter(f"{folder} holds cases of other settings; choose another --cases or --out")
    write_text(stored, declared)
    cases = []
    for index in track(range(count), "synthetic patients", console=Console(stderr=True)):
        file = folder / f"s{index:04d}.npz"
        if not file.exists():
            patient = synthesise(seed, index, settings)
            if jitter_mm:
                patient = replace(patient, brain=jittered(patient, jitter_mm, np.random.default_rng([seed, index])))
            _draw(file, patient)
        cases.append(outline.of(load_prepared(file), np.load(_rise_file(file)).astype(np.float32)))
    return cases


def jittered(patient: SyntheticPatient, jitter_mm: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """The brain mask with its border moved in and out by a smooth random distance, as masks of two tools differ."""
    spacing_mm = np.linalg.norm(patient.affine[:3, :3], axis=0)
    inside = ndimage.distance_transform_edt(patient.brain, sampling=spacing_mm)
    outside = ndimage.distance_transform_edt(~patient.brain, sampling=spacing_mm)
    field = ndimage.gaussian_filter(random.standard_normal(patient.brain.shape), 8 / spacing_mm)
    moved: NDArray[np.bool_] = inside - outside + field * (jitter_mm / field.std()) > 0
    return moved


def _rise_file(file: Path) -> Path:
    return file.with_suffix(".rise.npy")


def _draw(file: Path, patient: SyntheticPatient) -> None:
    """Write the prepared case of a patient, and beside it what its lesions add, on the same grid."""
    case = prepared(patient, file.stem)
    box = tuple(slice(start, start + side) for start, side in zip(case.offset, case.shape, strict=True))
    rise: NDArray[np.float16] = patient.rise[box].astype(np.float16)
    with atomic_file(_rise_file(file)) as path, path.open("wb") as handle:
        np.save(handle, rise)
    save_prepared(case, file)


def prepared(patient: SyntheticPatient, name: str) -> PreparedCase:
    """Prepare a synthetic patient as `lesionloss synth` and `lesionloss prepare` would, without files."""
    visits = tuple(visit[None].astype(np.float32) for visit in patient.visits)
    return prepare_subject(
        Subject(name, name, visits, patient.reference.astype(np.uint8), patient.brain, patient.affine), MATCHED
    )


def real_cases(text: str, target: str | None, recipe: PreparationRecipe) -> list[PreparedCase]:
    """Prepare all complete real cases."""
    cohort = open_cohort(text, target)
    return [prepare_subject(load_subject(cohort, files), recipe) for files in cohort.cases]
