"""Cases that go wrong between files: each is named with file and remedy; a good case beside it is described."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from data_cohorts import AFFINE, LIT_NAMES, SHAPE, array, boxes, head, load, save, write_lit
from lesionloss.core.errors import DataError
from lesionloss.data.checking.survey import survey
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.nifti import repairs_of
from lesionloss.data.preparation.prepare_cohort import prepare_cohort

VISIT, MASK, REFERENCE = LIT_NAMES[1], LIT_NAMES[2], LIT_NAMES[3]


def flipped(path: Path) -> None:
    """The same place in space, stored from the other side."""
    turned = nibabel.as_closest_canonical(load(path))
    nibabel.save(nibabel.Nifti1Image(np.asarray(turned.dataobj), turned.affine), path)


def permuted(path: Path) -> None:
    order = [2, 0, 1]
    affine = AFFINE.copy()
    affine[:, :3] = AFFINE[:, order]
    save(path, array(path).transpose(order), affine)


def shifted(path: Path) -> None:
    affine = AFFINE.copy()
    affine[0, 3] += 4
    save(path, array(path), affine)


def header_only(path: Path) -> None:
    """Turned in the header but not in the array: the anatomy is mirrored."""
    save(path, array(path), np.diag([-1.0, 1, 1, 1]) @ AFFINE)


def smaller(path: Path) -> None:
    save(path, array(path)[:-2])


def outside(path: Path) -> None:
    save(path, (array(path) | boxes((0, 0, 0))).astype(np.uint8))


def times(factor: float) -> Callable[[Path], object]:
    return lambda path: save(path, (array(path) * factor).astype(np.float32))


def put(value: float) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        image = array(path).astype(np.float32)
        image[3, 3, 3] = value
        save(path, image)

    return change


def one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[60] ^= 1
    path.write_bytes(content)


# what, which file, how, what the line says, what to do
ZOO = [
    ("flipped reference", REFERENCE, flipped, "stored flipped along axis 0, 1", "reorient one"),
    ("permuted mask", MASK, permuted, "stored with its axes permuted to [2, 0, 1]", "reorient one"),
    ("mirrored header", REFERENCE, header_only, "not on one grid", "resample or reorient"),
    ("moved visit", VISIT, shifted, "corners up to 4 mm apart", "resample or reorient"),
    ("moved reference", REFERENCE, shifted, "corners up to 4 mm apart", "resample or reorient"),
    ("smaller mask", MASK, smaller, "shapes (22, 24, 14) and (20, 24, 14)", "resample or reorient"),
    ("reference of 255", REFERENCE, times(255), "voxels are 255", "divide the mask by 255"),
    ("reference of probabilities", REFERENCE, times(0.4), "look like probabilities", "choose a threshold"),
    ("reference of two labels", REFERENCE, put(2), "voxels are 2", "choose which values are lesion"),
    ("reference outside the brain", REFERENCE, outside, "lie outside the brain mask", "correct the mask"),
    ("NaN visit", VISIT, put(np.nan), "NaN or infinite", "replace them"),
    ("NaN reference", REFERENCE, put(np.nan), "NaN or infinite", "replace them"),
    ("constant visit", VISIT, times(0), "every voxel is 0", "export the image again"),
    ("empty brain mask", MASK, times(0), "the brain mask is empty", "make it again"),
    ("one image as both visits", VISIT,
     lambda path: path.write_bytes((path.parent / f"{LIT_NAMES[0]}.nii.gz").read_bytes()),
     "hold the same image", "supply two different visits"),
    ("four axes", VISIT, lambda path: save(path, np.stack([array(path)] * 2, axis=-1)), "found 4", "one volume"),
    ("cut off", VISIT, lambda path: path.write_bytes(path.read_bytes()[:-9]), "cut off", "fetch it again"),
    ("one bit", REFERENCE, one_bit, "damaged", "fetch it again"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "spoil", "wrong", "remedy"), [z[1:] for z in ZOO], ids=[z[0] for z in ZOO])
def test_what_is_wrong_is_named_with_its_remedy(
    tmp_path: Path, name: str, spoil: Callable[[Path], object], wrong: str, remedy: str
) -> None:
    root = write_lit(tmp_path, patients=2)
    path = root / "patient01" / f"{name}.nii.gz"
    spoil(path)
    found = survey(open_cohort(root))
    lines = [line for line in found.problems if wrong in line]
    assert lines, found.problems
    assert any(str(path) in line and remedy in line for line in lines)
    assert all("\n" not in line for line in found.problems)
    assert "patient02" in [case.name for case in found.cases]


def test_every_file_of_a_case_is_looked_at(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=2)
    put(np.nan)(root / "patient01" / f"{VISIT}.nii.gz")
    times(255)(root / "patient01" / f"{REFERENCE}.nii.gz")
    shifted(root / "patient01" / f"{MASK}.nii.gz")
    lines = survey(open_cohort(root)).problems
    assert len(lines) == 3
    assert [any(text in line for line in lines) for text in ("NaN", "divide the mask", "4 mm apart")] == [True] * 3


def scaled(path: Path) -> None:
    image = nibabel.Nifti1Image(array(path).astype(np.float32), AFFINE)
    image.set_data_dtype(np.uint8)
    nibabel.save(image, path)


def one_more_axis(path: Path) -> None:
    save(path, array(path)[..., None])


def two_forms(path: Path) -> None:
    image = load(path)
    moved = AFFINE.copy()
    moved[0, 3] += 2
    image = nibabel.Nifti1Image(np.asarray(image.dataobj), AFFINE)
    image.set_sform(AFFINE, code=1)
    image.set_qform(moved, code=1)
    nibabel.save(image, path)


@pytest.mark.parametrize(
    ("name", "spoil", "wrong", "remedy"),
    [
        (REFERENCE, scaled, "are rounded", "save the mask as uint8 without a scale"),
        (VISIT, one_more_axis, "trailing axes of length one are dropped", "save three axes"),
        (VISIT, two_forms, "qform and sform lie up to 2 mm apart", "set both alike"),
    ],
)
def test_what_is_repaired_is_a_warning(
    tmp_path: Path, name: str, spoil: Callable[[Path], None], wrong: str, remedy: str
) -> None:
    root = write_lit(tmp_path, patients=1)
    path = root / "patient01" / f"{name}.nii.gz"
    before = survey(open_cohort(root))
    spoil(path)
    found = survey(open_cohort(root))
    assert found.problems == ()
    line = next(line for line in found.warnings if str(path) in line)
    assert wrong in line
    assert remedy in line
    assert found.cases == before.cases


def test_a_good_file_needs_no_repair(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=1)
    for name in LIT_NAMES:
        assert repairs_of(root / "patient01" / f"{name}.nii.gz", is_mask=name in (MASK, REFERENCE)) == ()


def test_voxels_at_the_masks_border_are_only_a_warning(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=1)
    large = boxes((6, 7, 4), edge=6)
    save(root / "patient01" / f"{REFERENCE}.nii.gz", large.astype(np.uint8))
    brain = head()
    brain[11, 12, 9] = False
    save(root / "patient01" / f"{MASK}.nii.gz", brain.astype(np.uint8))
    found = survey(open_cohort(root, "change"))
    assert found.problems == ()
    assert any("1 reference voxels (0.5%) lie outside" in line for line in found.warnings)
    assert found.cases[0].brain_voxels == brain.sum()
    assert found.cases[0].shape == SHAPE


def test_what_many_cases_share_is_one_line(tmp_path: Path) -> None:
    found = survey(open_cohort(write_lit(tmp_path, patients=3)))
    assert [line.split(":")[0] for line in found.warnings] == ["3 of 3 cases (patient01, patient02, patient03)"] * 2
    assert "anisotropic voxels, edges differ up to 3.0 times" in found.warnings[0]
    assert "3 lesions are no larger than a cube of the longest edge" in found.warnings[1]
    sums = found.sums()
    assert (sums["positive_cases"], sums["lesions"]) == (3, 3)
    assert sums["lesion_size_mm3"] == {"mean": 24, "sd": 0, "median": 24, "min": 24, "max": 24}
    assert sums["lesion_share_of_brain"]["mean"] == pytest.approx(8 / head().sum())


def test_visits_of_other_orientations_are_read_alike_with_a_warning(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=2)
    before = load_subject(cohort := open_cohort(root), cohort.cases[0])
    flipped(root / "patient01" / f"{LIT_NAMES[0]}.nii.gz")
    after = load_subject(cohort, cohort.cases[0])
    np.testing.assert_array_equal(after.visits[0], before.visits[0])
    np.testing.assert_array_equal(after.affine, before.affine)
    found = survey(cohort)
    assert not found.problems
    (line,) = [line for line in found.warnings if "orientations differ" in line]
    assert "(LPS: patient02; LPS and RAS: patient01): the step orient" in line


def test_a_header_without_an_orientation_is_a_warning_with_the_cases(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=2)
    for path in (root / "patient02").iterdir():
        image = nibabel.Nifti1Image(array(path), AFFINE)
        image.set_sform(None, code=0)
        image.set_qform(None, code=0)
        nibabel.save(image, path)
    (line,) = [line for line in survey(open_cohort(root)).warnings if "no orientation in the header" in line]
    assert line.startswith("1 of 2 cases (patient02)")


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=2)
    save(root / "patient01" / f"{VISIT}.nii", array(root / "patient01" / f"{VISIT}.nii.gz") + 1)
    with pytest.raises(DataError, match=rf"{VISIT}\.nii\.gz and .*{VISIT}\.nii have one name; keep one"):
        open_cohort(root)


def test_a_file_that_was_not_fetched_is_named_as_such(tmp_path: Path) -> None:
    root = write_lit(tmp_path, patients=2)
    path = root / "patient01" / f"{VISIT}.nii.gz"
    path.unlink()
    path.symlink_to("../.git/annex/objects/x")
    cohort = open_cohort(root)
    assert len(cohort.cases) == 2
    assert any(f"{path}: a link to a file that is not there" in line for line in survey(cohort).problems)
    with pytest.raises(DataError, match="a link to a file that is not there"):
        prepare_cohort(cohort, tmp_path / "out")


def test_every_pairing_is_listed(tmp_path: Path) -> None:
    pairings = survey(open_cohort(write_lit(tmp_path, patients=2))).pairings
    assert pairings[0] == f"patient01: patient01/{LIT_NAMES[0]}.nii.gz -> patient01/{LIT_NAMES[1]}.nii.gz"
    assert len(pairings) == 2
