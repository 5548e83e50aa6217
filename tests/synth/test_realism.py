"""A synthetic cohort against a real one: each measure follows what it measures, and patches are classified."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner

from data_cohorts import write_lit
from lesionloss import UsageError
from lesionloss.cli.app import app
from lesionloss.data.cohort import open_cohort
from lesionloss.data.prepared import PreparedCase
from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.synth.realism import CheckRequest, check_realism, measures
from lesionloss.synth.realism.check import as_record
from lesionloss.synth.realism.classifier import (
    VIEWS,
    CasePatches,
    ClassifierSettings,
    auc,
    cross_validate,
    draw_patches,
)
from lesionloss.synth.realism.compared_cases import CaseMasks, masks_of, masks_only
from lesionloss.synth.realism.distances import compare
from lesionloss.synth.realism.figures import write_patches
from lesionloss.synth.realism.measures import measure_images, measure_masks, tissue_classes
from lesionloss.synth.realism.slice_sheet import shuffled, slice_of
from patch_cases import case_of

SHAPE = (48, 44, 20)
SPACING = (1.0, 1.0, 3.0)
QUICK = ClassifierSettings(patches=16, folds=2, steps=15, batch=16)


def head(
    name: str, noise: float = 0.1, blur: float = 0.0, rise: float = 1.0, edges: float = 0.6, shift: float = 0.0
) -> PreparedCase:
    """An ellipsoid of two tissues around a dark middle, one cube of 4 x 4 x 2 voxels that brightens by `rise`."""
    rng = np.random.default_rng(list(name.encode()))
    grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    radius = np.sqrt(sum(grid**2 for grid in grids))
    clean = np.where(radius < 0.3, -3.0, np.where(radius < 0.7, 0.0, 0.6)) + shift
    clean = ndimage.gaussian_filter(clean, (edges, edges, 0)).astype(np.float32)
    brain = radius < 0.95
    reference = np.zeros(SHAPE, np.uint8)
    reference[32:36, 20:24, 10:12] = 1
    grain = rng.standard_normal((2, *SHAPE)).astype(np.float32)
    if blur:
        grain = np.stack([ndimage.gaussian_filter(part, (blur, blur, 0)) for part in grain])
        grain /= grain.std()
    baseline, followup = ((clean + np.float32(noise) * part) * brain for part in grain)
    followup = followup + np.float32(rise) * reference
    return case_of(name, np.stack([baseline, followup, followup - baseline]), reference, brain, None, SPACING)


def middle(quantity: measures.Quantity, **settings: float) -> float:
    found = measure_images(head("a", **settings))[quantity]
    return float(np.median(found))


def test_tissues_are_the_levels_of_intensity() -> None:
    case = head("a", noise=0.02)
    classes = tissue_classes(case.image[0], case.brain, (1.0, 1.0, 0.0))
    assert set(np.unique(classes[case.brain])) == {1, 2, 3}
    assert not classes[~case.brain].any()
    means = [float(case.image[0][classes == number].mean()) for number in (1, 2, 3)]
    assert means[0] < -2 < means[1] < 0.3 < means[2]


@pytest.mark.parametrize(
    ("quantity", "less", "more"),
    [
        (measures.NOISE, {"noise": 0.1}, {"noise": 0.2}),
        (measures.SPREAD, {"noise": 0.1}, {"noise": 0.2}),
        (measures.EDGE, {"edges": 1.5}, {"edges": 0.4}),
        (measures.RISE, {"rise": 0.5}, {"rise": 1.5}),
        (measures.GRAIN, {"blur": 0.0}, {"blur": 1.0}),
        (measures.INTENSITY[0], {"shift": 0.0}, {"shift": 0.5}),
    ],
)
def test_each_measure_of_images_moves_with_its_cause(
    quantity: measures.Quantity, less: dict[str, float], more: dict[str, float]
) -> None:
    assert middle(quantity, **less) < 0.85 * middle(quantity, **more) or quantity == measures.INTENSITY[0]
    assert middle(quantity, **less) < middle(quantity, **more)


def test_spread_and_rise_have_their_known_values() -> None:
    found = measure_images(head("a", noise=0.2, rise=1.5))
    assert found[measures.SPREAD][0] == pytest.approx(0.2 * np.sqrt(2), rel=0.03)
    assert found[measures.RISE] == pytest.approx([1.5], abs=0.2)


def test_sizes_counts_and_load_are_exact() -> None:
    case = head("a")
    found = measure_masks(masks_of(case))
    assert found[measures.VOLUME].tolist() == [4 * 4 * 2 * 3.0]
    assert found[measures.COUNT].tolist() == [1.0]
    assert found[measures.LOAD].tolist() == [pytest.approx(1000 * 32 / case.brain.sum())]


def test_places_do_not_depend_on_how_the_image_is_stored() -> None:
    masks = masks_of(head("a"))
    flipped = masks.grid.affine.copy()
    flipped[:3, 3] += flipped[:3, 0] * (SHAPE[0] - 1)
    flipped[:3, 0] *= -1
    grid = VoxelGrid(SHAPE, flipped)
    other = measure_masks(CaseMasks("b", "b", masks.lesion[::-1].copy(), masks.brain[::-1].copy(), grid))
    found = measure_masks(masks)
    for quantity in (*measures.PLACES, measures.DEPTH):
        assert other[quantity] == pytest.approx(found[quantity], abs=0.01)
    assert found[measures.PLACES[0]][0] == pytest.approx((33.5 - 23.5) / (0.95 * 23.5), abs=0.1)


def test_no_lesion_has_no_size_but_counts_as_none() -> None:
    masks = masks_of(head("a"))
    found = measure_masks(CaseMasks("b", "b", np.zeros(SHAPE, bool), masks.brain, masks.grid))
    assert found[measures.COUNT].tolist() == [0.0]
    assert all(len(found[quantity]) == 0 for quantity in (measures.VOLUME, measures.DEPTH, *measures.PLACES))


def measured(*cases: PreparedCase) -> list[measures.Measured]:
    return [{**measure_images(case), **measure_masks(masks_of(case))} for case in cases]


def test_a_cohort_has_no_distance_from_itself() -> None:
    cohort = measured(head("a"), head("b"))
    rows = compare(cohort, cohort)
    assert len(rows) == len(measures.QUANTITIES)
    assert all(row.ks == 0 and row.wasserstein == 0 for row in rows)


def test_the_distance_of_a_shift_is_the_shift() -> None:
    rows = {row.quantity: row for row in compare(measured(head("a")), measured(head("a", shift=0.5)))}
    fluid = rows[measures.INTENSITY[0]]
    assert fluid.wasserstein == pytest.approx(0.5, abs=0.03)
    assert fluid.ks > 0.3
    assert fluid.relative == pytest.approx(fluid.wasserstein / (fluid.real[2] - fluid.real[0]))
    assert rows[measures.DIFFERENCE].wasserstein == pytest.approx(0, abs=0.01)


def test_masks_of_incomplete_patients_count_where_the_target_is_the_published_mask(tmp_path: Path) -> None:
    root = write_lit(tmp_path / "lit", patients=3)
    (root / "patient02" / "study1_FLAIR.nii.gz").unlink()
    shutil.rmtree(root / "patient03")
    published = open_cohort(f"lit:{root}", "change")
    found = list(masks_only(published))
    assert [masks.patient for masks in found] == ["patient02"]
    assert measure_masks(found[0])[measures.COUNT].tolist() == [2.0]
    assert list(masks_only(open_cohort(f"lit:{root}", "positive_change"))) == []
    (root / "patient02" / "brainmask.nii.gz").unlink()
    assert list(masks_only(open_cohort(f"lit:{root}", "change"))) == []


def test_auc_counts_pairs_and_halves_ties() -> None:
    assert auc(np.array([3.0, 2.0, 1.0]), np.array([1.0, 1.0, 0.0])) == 1.0
    assert auc(np.array([1.0, 1.0, 0.0, 2.0]), np.array([1.0, 0.0, 0.0, 0.0])) == pytest.approx(1.5 / 3)


def patches(make: Callable[[str], PreparedCase], kind: str, real: bool) -> list[CasePatches]:
    return [draw_patches(make(f"{kind}{number}"), real=real, settings=QUICK) for number in range(3)]


def test_patches_of_one_kind_cannot_be_told_apart_and_noisier_ones_can() -> None:
    real = patches(head, "r", real=True)
    same = next(iter(cross_validate([*real, *patches(head, "s", real=False)], QUICK)))
    assert 0.3 < same.auc < 0.7
    noisy = patches(lambda name: head(name, noise=0.5), "s", real=False)
    found = next(iter(cross_validate([*real, *noisy], QUICK)))
    assert found.auc > 0.95
    assert found.patches == (3 * QUICK.patches, 3 * QUICK.patches)
    assert len(found.folds) == 2


def test_one_patient_of_a_kind_is_too_few_to_tell() -> None:
    one = draw_patches(head("r"), real=True, settings=QUICK)
    with pytest.raises(UsageError, match="two complete patients"):
        next(iter(cross_validate([one, *patches(head, "s", real=False)], QUICK)))


def write_pairs(root: Path, patients: int, noise: float) -> Path:
    """A cohort in the MSSEG-2 layout from `head`."""
    for number in range(patients):
        case = head(f"{noise}{number}", noise=noise)
        folder = root / "training" / f"{number + 1:03d}"
        folder.mkdir(parents=True)
        arrays = {
            "flair_time01_on_middle_space": (case.image[0] + 5) * case.brain,
            "flair_time02_on_middle_space": (case.image[1] + 5) * case.brain,
            "ground_truth": case.reference,
            "brain_mask": case.brain.astype(np.uint8),
        }
        for name, array in arrays.items():
            nibabel.save(nibabel.Nifti1Image(array, np.diag([*SPACING, 1.0])), folder / f"{name}.nii.gz")
    return root


def test_the_command_prints_a_table_and_writes_tables_and_pictures(tmp_path: Path) -> None:
    real, synthetic = write_pairs(tmp_path / "real", 2, 0.1), write_pairs(tmp_path / "synthetic", 2, 0.3)
    out = tmp_path / "check"
    result = CliRunner().invoke(app, ["synth-check", str(real), str(synthetic), "--out", str(out), "--no-classifier"])
    assert result.exit_code == 0, result.output
    assert "noise of a visit" in result.output
    assert "real: 2 complete cases" in result.output
    assert {file.name for file in out.iterdir()} == {
        *("realism.json", "distances.csv", "distributions.png", "distributions.svg", "slices.png")
    }
    record = json.loads((out / "realism.json").read_text())
    told = CliRunner().invoke(app, ["synth-check", str(real), str(synthetic), "-n", "1", "--no-classifier", "--json"])
    assert json.loads(told.stdout)["real"]["complete_cases"] == 1
    assert record["real"]["complete_cases"] == 2
    assert record["classifier"] == []
    assert sorted((shown["case"], shown["real"]) for shown in record["slices"]) == [
        *(("001", False), ("001", True), ("002", False), ("002", True))
    ]
    with Image.open(out / "slices.png") as picture:
        assert min(picture.size) > 500
    rows = {row["quantity"]: row for row in csv.DictReader((out / "distances.csv").open())}
    noise = rows[measures.NOISE.name]
    assert float(noise["synthetic_median"]) > 2 * float(noise["real_median"])
    assert float(noise["ks"]) > 0.9


def test_a_slice_is_cut_to_the_brain_at_its_height_whichever_way_it_is_stored() -> None:
    case = head("a")
    shown = slice_of(case, real=True)
    wide = int(case.brain.any(axis=(1, 2)).sum())
    assert shown.images.shape[0] == 3
    assert abs(shown.images.shape[2] - wide) <= 6 + 2
    assert shown.aspect == 1
    marked = replace(case, image=np.broadcast_to(np.arange(SHAPE[2], dtype=np.float32), (3, *SHAPE)))
    upside_down = marked.affine @ np.diag([1.0, 1.0, -1.0, 1.0])
    heights = [np.nanmax(slice_of(found, real=True).images) for found in (marked, replace(marked, affine=upside_down))]
    assert heights[0] > (SHAPE[2] - 1) / 2 > heights[1]
    assert heights[0] + heights[1] == SHAPE[2] - 1


def test_slices_stand_in_an_order_of_their_own() -> None:
    slices = [slice_of(head(name), real=real) for name, real in (("a", True), ("b", True), ("c", False), ("d", False))]
    assert [shown.case for shown in shuffled(slices)] == [shown.case for shown in shuffled(slices)]
    assert {shown.case for shown in shuffled(slices)} == set("abcd")


def test_both_cohorts_are_measured_and_their_patches_told_apart(tmp_path: Path) -> None:
    real, synthetic = write_pairs(tmp_path / "real", 2, 0.1), write_pairs(tmp_path / "synthetic", 2, 0.5)
    request = CheckRequest(
        open_cohort(real), open_cohort(synthetic), classifier=ClassifierSettings(patches=8, folds=2, steps=3, batch=8)
    )
    seen: list[str] = []
    found = check_realism(request, seen.append)
    assert [telling.view for telling in found.classifier_results] == list(VIEWS)
    assert {"001", "002", *VIEWS} == set(seen)
    assert [result["view"] for result in as_record(found)["classifier"]] == list(VIEWS)
    write_patches((*found.real.patches, *found.synthetic.patches), tmp_path / "patches.png", shown=3)
    with Image.open(tmp_path / "patches.png") as picture:
        assert min(picture.size) > 100
