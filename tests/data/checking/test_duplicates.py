"""Planted leakages: one image twice in whatever dress, one patient under two names, splits that share either."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from data_cohorts import LIT_NAMES, SHAPE, array, boxes, head, save, visits
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.checking.check_splits import read_splits
from lesionloss.data.checking.duplicates import Thumbnail, plain_name, same_images, same_names, thumbnail
from lesionloss.data.checking.survey import Survey, survey
from lesionloss.data.cohort import open_cohort
from lesionloss.data.fold_files import load_folds, save_folds
from lesionloss.data.folds import make_folds

PATIENTS = 5


def textured(seed: int) -> np.ndarray:
    """What makes one head differ from another, at the scale of a thumbnail."""
    return 800 * ndimage.gaussian_filter(np.random.default_rng(seed).normal(0, 1, SHAPE), 2)


def write(root: Path) -> Path:
    """Five patients whose lesions lie at different places."""
    for number in range(1, PATIENTS + 1):
        up, down = boxes((5 + number, 9, 5), edge=4), boxes((13, 13, 9), edge=1)
        images = [image + textured(number) for image in visits(number, head(), up, down)]
        arrays = (*(image.astype(np.int16) for image in images), head().astype(np.uint8), (up | down).astype(np.uint8))
        for name, voxels in zip(LIT_NAMES, arrays, strict=True):
            save(root / f"patient{number:02d}" / f"{name}.nii.gz", voxels)
    return root


def file(root: Path, patient: int, name: str) -> Path:
    return root / f"patient{patient:02d}" / f"{name}.nii.gz"


# How an image can be there twice: what is written instead of the second patient's.
DRESSES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda image: image,
    "as float": lambda image: image.astype(np.float32),
    "brighter": lambda image: (image * 3 + 50).astype(np.int16),
    "scaled to 0..1": lambda image: (image / image.max()).astype(np.float32),
    "in 8 bits": lambda image: ((image - image.min()) / np.ptp(image) * 255).astype(np.uint8),
    "mirrored": lambda image: image[::-1].copy(),
    "upside down": lambda image: image[:, :, ::-1].copy(),
}


@pytest.mark.parametrize("dress", DRESSES, ids=str)
@pytest.mark.parametrize(("of", "to"), [(1, 2), (3, 5), (4, 1), (2, 4)])
def test_an_image_of_two_patients_is_found(tmp_path: Path, dress: str, of: int, to: int) -> None:
    """28 plants."""
    root = write(tmp_path)
    planted = file(root, to, "study1_FLAIR")
    save(planted, DRESSES[dress](array(file(root, of, "study2_FLAIR"))))
    found = survey(open_cohort(root))
    lines = [line for line in found.problems if "the same image as" in line]
    assert len(lines) == 1
    assert str(planted) in lines[0]
    assert "remove one" in lines[0]
    assert ("mirrored" in lines[0]) == (dress in ("mirrored", "upside down"))


def plant_uncompressed(root: Path) -> None:
    save(file(root, 2, "study1_FLAIR").with_suffix(""), array(file(root, 1, "study1_FLAIR")))
    file(root, 2, "study1_FLAIR").unlink()


def plant_reference(root: Path) -> None:
    for name in ("gt", "brainmask"):
        file(root, 2, name).write_bytes(file(root, 1, name).read_bytes())
    one = array(file(root, 1, "gt")) > 0
    first, second = visits(77, head(), one, np.zeros(SHAPE, bool))
    save(file(root, 2, "study1_FLAIR"), (first + textured(77)).astype(np.int16))
    save(file(root, 2, "study2_FLAIR"), (second + textured(77)).astype(np.int16))


def plant_whole_patient(root: Path) -> None:
    (root / "patient09").mkdir()
    for name in LIT_NAMES:
        (root / "patient09" / f"{name}.nii.gz").write_bytes(file(root, 3, name).read_bytes())


def plant_name(root: Path) -> None:
    (root / "patient05").rename(root / "patient0001")


@pytest.mark.parametrize(
    ("plant", "named"),
    [
        (plant_uncompressed, "the same image as"),
        (plant_reference, "marks the very same voxels as"),
        (plant_whole_patient, "one patient under two names"),
        (plant_name, "patients patient0001 and patient01 look like one patient under 2 names"),
    ],
)
def test_one_patient_under_two_names_is_found(tmp_path: Path, plant: Callable[[Path], None], named: str) -> None:
    """4 plants."""
    root = write(tmp_path)
    assert survey(open_cohort(root, "change")).problems == ()
    plant(root)
    assert any(named in line for line in survey(open_cohort(root, "change")).problems)


def split(root: Path, folds: object) -> Survey:
    path = root / "splits.json"
    path.write_text(json.dumps(folds))
    return survey(open_cohort(root), splits=(path, read_splits(path)))


NAMES = [f"patient{number:02d}" for number in range(1, PATIENTS + 1)]


def test_a_clean_split_is_clean(tmp_path: Path) -> None:
    folds = [{"train": [n for n in NAMES if n != name], "val": [name]} for name in NAMES]
    found = split(write(tmp_path), folds)
    assert found.problems == ()
    assert not any("never" in line for line in found.warnings)
    assert any("never in val or test: patient02" in line for line in split(tmp_path, {"folds": folds[:1]}).warnings)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sides", [("train", "val"), ("train", "test"), ("val", "test")])
def test_a_patient_on_two_sides_is_found(tmp_path: Path, name: str, sides: tuple[str, str]) -> None:
    """15 plants."""
    fold = {"train": NAMES[:2], "val": NAMES[2:4], "test": NAMES[4:]}
    for side in sides:
        fold[side] = sorted({*fold[side], name})
    for side in {"train", "val", "test"} - set(sides):
        fold[side] = [other for other in fold[side] if other != name]
    lines = [line for line in split(write(tmp_path), [fold]).problems if "fold 0" in line]
    assert len(lines) == 1
    assert f"patient {name} stands in {sides[0]} and in {sides[1]}" in lines[0]


@pytest.mark.parametrize("dress", ["as it is", "brighter", "mirrored"])
def test_an_image_on_two_sides_is_found(tmp_path: Path, dress: str) -> None:
    """3 plants: 50 with those above."""
    root = write(tmp_path)
    save(file(root, 5, "study2_FLAIR"), DRESSES[dress](array(file(root, 1, "study2_FLAIR"))))
    lines = split(root, [{"train": NAMES[:3], "val": NAMES[3:]}]).problems
    assert any("fold 0: patient01 in train and patient05 in val hold the same image" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected a list of folds"),
        ('{"a": 1}', "expected a list of folds"),
        ("[3]", "fold 0 is int"),
        ('[{"train": ["a"]}]', "fold 0 has no lists train and val"),
        ('[{"train": ["a"], "val": [3]}]', "fold 0, val: names are texts, got 3"),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "splits.json"
    path.write_text(text)
    with pytest.raises(DataError, match="splits") as caught:
        read_splits(path)
    assert message in str(caught.value)
    with pytest.raises(UsageError, match="no such file"):
        read_splits(tmp_path / "other.json")


def test_unknown_and_repeated_names_are_problems(tmp_path: Path) -> None:
    found = split(write(tmp_path), [{"train": ["patient01", "patient01"], "val": ["patient22"]}])
    assert any("train: patient01 is listed twice" in line for line in found.problems)
    assert any("no case or patient is named 'patient22'; did you mean 'patient02'" in line for line in found.problems)


def test_names_are_compared_without_dress() -> None:
    assert plain_name("sub-01") == plain_name("01") == plain_name("Patient_1") == "1"
    assert plain_name("a10") != plain_name("a1")
    assert same_names(["a1", "b1", "a2"]) == []
    assert len(same_names(["A_01", "a1", "b"])) == 1


def test_two_visits_of_one_head_under_two_names_are_a_warning(tmp_path: Path) -> None:
    def one(case: str, patient: str, head_: int, noise: int) -> Thumbnail:
        image = textured(head_) + np.random.default_rng(noise).normal(0, 4, SHAPE)
        return thumbnail(case, patient, tmp_path / f"{case}{noise}", image)

    shown = [one(name, name, number, number) for number, name in enumerate("abcd")]
    problems, warnings = same_images([*shown, one("e", "e", 2, 99)])
    assert problems == []
    assert len(warnings) == 1
    assert "are c and e one patient?" in warnings[0]
    assert same_images(shown) == ([], [])


def test_folds_that_were_saved_are_read_alike_by_who_checks_and_by_who_trains(tmp_path: Path) -> None:
    folds = make_folds({name: float(index) for index, name in enumerate("abcdef")}, 3, seed=1)
    save_folds(folds, tmp_path / "folds.json")
    checked = read_splits(tmp_path / "folds.json")
    assert [(split.sides["train"], split.sides["test"]) for split in checked] == [(f.train, f.test) for f in folds]
    assert load_folds(tmp_path / "folds.json", {name: name for name in "abcdef"}).folds == folds
