"""Brain masks for images without one: a simple one, which keeps much of the skull, or an external program's."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lesionloss.core.components import largest_component
from lesionloss.core.errors import DataError
from lesionloss.data.nifti import read_mask, write_volume
from lesionloss.data.preparation.case_state import PreparationState
from lesionloss.data.preparation.recipe import BrainSettings
from lesionloss.data.subject import Image, Mask
from lesionloss.data.volume import Affine
from lesionloss.data.z_score import z_score

BINS = 256
# Half the thickness of the bridges between brain and scalp that opening removes.
OPENING_MM = 3.0
# The brightest voxels carry no information about the border between head and air.
BRIGHTEST_SHARE = 0.005


def take_brain(state: PreparationState, settings: BrainSettings) -> PreparationState:
    """Take or make the brain mask, as the settings say.

    Raises:
        DataError: A mask must be given and is not, or the external program fails.
    """
    given = state.brain is not None
    if settings.source == "given" and not given:
        raise DataError(f"{state.name}: no brain mask beside the images; add one, or choose builtin or a tool")
    if given and settings.source in ("auto", "given"):
        return replace(state, brain_from="file").noted("brain", {"from": "file"})
    if settings.source == "tool":
        masks = [tool_brain(visit[0], state.grid.affine, settings.command, settings.mask) for visit in state.visits]
        name = f"tool {settings.command[0]}"
        mask = np.logical_and.reduce(masks)
        union = float(np.logical_or.reduce(masks).sum())
        if not mask.any():
            raise DataError(
                f"{state.name}: {settings.command[0]} marks no brain that both visits share; check the images"
            )
        shared = {"shared": round(float(mask.sum()) / union, 4)} if len(masks) == 2 else {}
        return replace(state, brain=mask, brain_from=name).noted("brain", {"from": name, **shared})
    if settings.source == "whole" or len(state.grid.shape) != 3:
        everywhere = np.ones(state.grid.shape, dtype=np.bool_)
        return replace(state, brain=everywhere, brain_from="whole image").noted("brain", {"from": "whole image"})
    repair = f"{state.name}: no brain mask; a simple one was made by threshold, which keeps parts of the skull"
    made = replace(state, brain=_simple(state), brain_from="threshold")
    return made.noted("brain", {"from": "threshold"}, *(() if given else (repair,)))


def _simple(state: PreparationState) -> Mask:
    everywhere = np.ones(state.grid.shape, dtype=np.bool_)
    total, *others = (z_score(visit[0], everywhere, state.name) for visit in state.visits)
    for other in others:
        total = total + other
    x, y, z = state.grid.spacing_mm
    return simple_brain(total / np.float32(len(state.visits)), (x, y, z), state.name)


def otsu_threshold(values: npt.NDArray[np.float32]) -> float:
    """Find the threshold that best separates two classes of values (Otsu 1979, eq. 18: largest variance between them).

    Args:
        values: Intensities, any shape.

    Returns:
        The threshold.
    """
    top = float(np.quantile(values, 1 - BRIGHTEST_SHARE))
    counts, edges = np.histogram(np.minimum(values, top), bins=BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = values.size - below
    sums = np.cumsum(counts * centres)
    mean_below = sums[:-1] / np.maximum(below, 1)
    mean_above = (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    return float(edges[1:-1][np.argmax(below * above * (mean_below - mean_above) ** 2)])


def simple_brain(image: Image, spacing_mm: tuple[float, float, float], what: str) -> Mask:
    """Make a brain mask: Otsu threshold, opening by 3 mm, largest component (connectivity 6), holes filled.

    Args:
        image: Intensities (X, Y, Z).
        spacing_mm: Edge lengths of a voxel.
        what: The image in error messages.

    Returns:
        The mask (X, Y, Z).

    Raises:
        DataError: The mask is empty.
    """
    import edt
    from scipy import ndimage

    head = image > otsu_threshold(image)
    core = edt.edt(head, anisotropy=spacing_mm, parallel=1) > OPENING_MM
    opened = head & (edt.edt(~core, anisotropy=spacing_mm, parallel=1) <= OPENING_MM)
    seed = opened if core.any() else head
    largest = largest_component(seed, 6)
    filled = np.asarray(ndimage.binary_fill_holes(largest), dtype=np.bool_)
    if not filled.any():
        raise DataError(f"{what}: no brain could be distinguished from the background; supply a brain mask")
    return filled


def tool_brain(image: Image, affine: Affine, command: Sequence[str], mask: str) -> Mask:
    """Make a brain mask with an external program; no shell takes part.

    Args:
        image: Intensities (X, Y, Z).
        affine: Voxel indices to millimetres (4, 4).
        command: Program and arguments; {image} stands for the image's file and {folder} for an empty folder.
        mask: The file that the program writes, with the same placeholders.

    Returns:
        The mask (X, Y, Z).

    Raises:
        DataError: The program is not installed, fails, or leaves no mask of the image's shape.
    """
    program = find_program(command[0])
    if program is None:
        raise DataError(
            f"the program for the brain mask, {command[0]!r}, is not installed (not on PATH); "
            "install it, name another under brain.command, or take --brain-from builtin"
        )
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "image.nii.gz"
        write_volume(source, image, affine)
        words = [program, *(_filled(word, source, folder) for word in command[1:])]
        done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode != 0:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise DataError(f"{command[0]} ended with code {done.returncode}: {said[-1] if said else 'no message'}")
        made = Path(_filled(mask, source, folder))
        if not made.is_file():
            raise DataError(f"{command[0]} left no {made.name}; name the file that it writes under brain.mask")
        found = read_mask(made).array
    if found.shape != image.shape:
        raise DataError(f"{command[0]} made a mask of shape {found.shape} for an image of shape {image.shape}")
    return found


def find_program(name: str) -> str | None:
    """Where a program is: on PATH, or beside the Python that runs this, whose environment may not be activated."""
    return shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))


def _filled(word: str, image: Path, folder: str) -> str:
    return word.replace("{image}", str(image)).replace("{folder}", folder)
