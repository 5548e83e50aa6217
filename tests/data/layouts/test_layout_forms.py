"""The forms that single layouts come in, and what the values of their references mean."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import PreparationRecipe
from lesionloss.data.prepared import load_prepared
from miniature import (
    WRITERS,
    acdc,
    bus2017,
    dataset_json,
    drive,
    dsb2018,
    hippocampus,
    isbi2015,
    labels,
    ljubljana,
    mask,
    msseg2016,
    nnunet,
    synapse,
    wmh2017,
)
from subjects import subjects


def test_inner_folders_may_be_named(tmp_path: Path) -> None:
    for write, inner in (
        (msseg2016, "Training"), (isbi2015, "training"), (wmh2017, "training"), (wmh2017, "training/Utrecht"),
        (drive, "test"), (dsb2018, "stage1_train"), (acdc, "training"), (synapse, "RawData"),
        (synapse, "RawData/Training"),
    ):  # fmt: skip
        root = write(tmp_path / write.__name__)
        inside = open_cohort(root / inner).cases
        assert inside
        assert set(inside) <= set(open_cohort(root).cases), (write, inner)


def test_the_two_ljubljana_sets_in_one_folder_ask_for_a_choice(tmp_path: Path) -> None:
    ljubljana(tmp_path)
    WRITERS["lit"](tmp_path / "longitudinal" / "coregistered")
    with pytest.raises(UsageError, match=rf"name one: lit:{tmp_path} or ljubljana:{tmp_path}"):
        open_cohort(tmp_path)
    assert len(open_cohort(f"ljubljana:{tmp_path}").cases) == 2
    raw = open_cohort(tmp_path / "cross_sectional" / "raw").cases
    assert raw[0].visits[0][0] == tmp_path / "cross_sectional" / "raw" / "patient01" / "FLAIR.nii.gz"


def test_the_hippocampus_in_its_two_other_forms(tmp_path: Path) -> None:
    original = hippocampus(tmp_path / "a")
    (original / "images").rename(original / "imagesTr")
    (original / "labels").rename(original / "labelsTr")
    dataset_json(original)
    assert open_cohort(original).layout.name == "hippocampus"
    for path in (original / "imagesTr").iterdir():
        path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    dataset_json(original, channel_names={"0": "MRI"}, labels={"background": 0, "Anterior": 1, "Posterior": 2})
    assert subjects(open_cohort(f"nnunet:{original}"))[0].classes == ("Anterior", "Posterior")
    assert open_cohort(original).layout.name == "nnunet"


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    acdc(tmp_path)
    shutil.copytree(tmp_path / "training" / "patient002", tmp_path / "testing" / "patient002")
    with pytest.raises(DataError, match=r"two cases are named patient002_frame01: .*; rename one"):
        open_cohort(tmp_path)
    assert len(open_cohort(tmp_path / "testing").cases) == 1


def test_both_parts_of_msseg2016_keep_their_patients_apart(tmp_path: Path) -> None:
    msseg2016(tmp_path)
    shutil.copytree(tmp_path / "Training", tmp_path / "Testing")
    names = {files.patient for files in open_cohort(tmp_path).cases}
    assert len(names) == 6
    assert "Testing_Center_01_Patient_01" in names


def test_a_file_that_is_no_cohort_says_what_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("x")
    with pytest.raises(UsageError, match=r"is a file, not a folder; .*a file that ends in (\.csv or \.npz|\.npz or)"):
        open_cohort(path)
    with pytest.raises(UsageError, match=r"is a file, not a folder; name the folder that holds the patients$"):
        open_cohort(f"lit:{path}")


# What the values of a reference mean


def test_other_pathology_is_ignored_not_background(tmp_path: Path) -> None:
    subject = subjects(open_cohort(wmh2017(tmp_path)))[0]
    assert subject.reference is not None
    assert subject.ignore is not None
    assert (subject.reference[0, 2, 3], subject.reference[1, 2, 3]) == (1, 0)
    assert np.argwhere(subject.ignore).tolist() == [[1, 2, 3]]


def test_targets_may_have_other_classes(tmp_path: Path) -> None:
    eight = open_cohort(synapse(tmp_path / "a"), "eight_organs")
    subject = subjects(eight)[0]
    assert subject.reference is not None
    assert [subject.reference[i % 7, 2 + i // 7, 3] for i in range(13)] == [7, 4, 3, 2, 0, 5, 8, 1, 0, 0, 6, 0, 0]
    assert subject.classes[6] == "spleen"
    whole = subjects(open_cohort(hippocampus(tmp_path / "b"), "whole"))[0]
    assert whole.reference is not None
    assert whole.classes == ("hippocampus",)
    assert sorted(np.unique(whole.reference)) == [0, 1]
    assert whole.lesion is not None
    assert whole.lesion.sum() == 2


def test_a_value_that_the_layout_does_not_know_is_refused(tmp_path: Path) -> None:
    path = labels(acdc(tmp_path) / "training" / "patient001" / "patient001_frame01_gt.nii.gz", 4)
    cohort = open_cohort(tmp_path)
    with pytest.raises(DataError, match=rf"{path}: label values are 0, 1, 2, 3; found 4 too"):
        load_subject(cohort, cohort.cases[0])
    mask(bus2017(tmp_path / "b") / "GT" / "000001.png", (1, 1), value=1)
    cohort = open_cohort(tmp_path / "b")
    with pytest.raises(DataError, match=r"000001\.png: label values are 0, 255; found 1 too"):
        load_subject(cohort, cohort.cases[0])


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_labels_of_a_folder_hold_in_preparation(tmp_path: Path, jobs: int) -> None:
    nnunet(tmp_path / "raw")
    made = prepare_cohort(open_cohort(tmp_path / "raw"), tmp_path / "out", PreparationRecipe(), jobs=jobs)
    assert made.prepared == 3
    case = load_prepared(tmp_path / "out" / "MS_000.npz")
    assert case.classes == ("oedema", "core")
    assert sorted(np.unique(case.reference)) == [0, 1, 2]
    assert prepare_cohort(open_cohort(tmp_path / "raw"), tmp_path / "out", PreparationRecipe()).unchanged == 3
    dataset_json(tmp_path / "raw", labels={"background": 0, "core": 1, "oedema": 2, "ignore": 3})
    assert prepare_cohort(open_cohort(tmp_path / "raw"), tmp_path / "out", PreparationRecipe()).prepared == 3
