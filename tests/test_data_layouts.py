"""Every known layout: recognised as itself alone, read as published, and what is missing named."""

import pickle
import shutil
from pathlib import Path

import cc3d
import numpy as np
import pytest
from typer.testing import CliRunner

from data_cohorts import REAL_LIT
from lesionloss.cli import app
from lesionloss.data.cohort import Cohort, load_subject, open_cohort
from lesionloss.data.datasets import layouts
from lesionloss.data.datasets.lit import difference_of
from lesionloss.data.nifti import read_mask, read_volume
from lesionloss.data.prepare import load_prepared, prepare_all
from lesionloss.data.recipe import Recipe
from lesionloss.data.subject import Subject
from lesionloss.data.survey import survey
from lesionloss.errors import DataError, UsageError
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

REAL = REAL_LIT.parent
LAYOUTS = sorted(WRITERS)

# cases with their patients; visits, contrasts; classes; voxels marked, voxels ignored in the first case
EXPECTED = {
    "lit": ("patient01:patient01 patient02:patient02 patient03:patient03", 2, "flair", "lesion", 8, 0),
    "msseg2": ("013:013 014:014 015:015", 2, "flair", "lesion", 0, 0),
    "msseg2-bids": ("sub-013:sub-013 sub-015:sub-015", 2, "flair", "lesion", 0, 0),
    "msseg2016": (
        " ".join(f"Center_{name}:Center_{name}" for name in ("01_Patient_01", "01_Patient_02", "07_Patient_01")),
        1, "flair t1 t1_contrast t2 pd", "lesion", 2, 0,
    ),
    "isbi2015": (
        "training01_01:training01 training01_02:training01 training02_01:training02",
        1, "flair t1 t2 pd", "lesion", 1, 0,
    ),
    "wmh2017": (
        "Utrecht_0:Utrecht_0 Singapore_50:Singapore_50 Amsterdam_GE3T_100:Amsterdam_GE3T_100",
        1, "flair t1", "wmh", 1, 1,
    ),
    "ljubljana": ("patient01:patient01 patient02:patient02", 1, "flair t1 t1_contrast t2", "lesion", 1, 0),
    "nnunet": ("MS_000:MS_000 MS_001:MS_001 MS_002:MS_002", 1, "flair t1", "oedema core", 2, 1),
    "bids": ("sub-01_ses-02:sub-01 sub-02_ses-02:sub-02", 2, "flair", "lesion", 1, 0),
    "csv": ("anna-1:anna anna-2:anna ben:ben", 2, "flair t1", "lesion", 1, 0),
    "drive": ("21:21 22:22 01:01", 1, "r g b", "vessel", 4, 0),
    "bus2017": ("000001:000001 000002:000002", 1, "grey", "lesion", 4, 0),
    "dsb2018": ("00ab:00ab 01cd:01cd", 1, "r g b", "nucleus", 8, 0),
    "isic2018": (" ".join(f"ISIC_000000{n}:ISIC_000000{n}" for n in "012"), 1, "r g b", "lesion", 4, 0),
    "cvc-clinicdb": ("1:sequence1 2:sequence1 10:sequence2", 1, "r g b", "polyp", 4, 0),
    "synapse": (
        "case0001:case0001 case0002:case0002", 1, "ct",
        "spleen right_kidney left_kidney gallbladder oesophagus liver stomach aorta inferior_vena_cava "
        "portal_and_splenic_vein pancreas right_adrenal_gland left_adrenal_gland", 13, 0,
    ),
    "acdc": (
        "patient001_frame01:patient001 patient001_frame12:patient001 patient002_frame01:patient002",
        1, "cine", "right_ventricle myocardium left_ventricle", 3, 0,
    ),
    "hippocampus": (
        "hippocampus_001:hippocampus_001 hippocampus_003:hippocampus_003", 1, "t1", "anterior posterior", 2, 0,
    ),
}  # fmt: skip


def subjects(cohort: Cohort) -> list[Subject]:
    return [load_subject(cohort, files) for files in cohort.cases]


def test_every_layout_has_a_miniature() -> None:
    assert set(WRITERS) == set(EXPECTED) == set(layouts.names())


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_is_recognised_as_its_own_layout_and_no_other(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    assert [layout.name for layout in layouts if layout.recognise(tmp_path)] == [name]
    assert open_cohort(tmp_path).cases == open_cohort(f"{name}:{tmp_path}").cases != ()


@pytest.mark.parametrize("name", LAYOUTS)
def test_cases_are_read_as_published(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path)
    cohort = open_cohort(tmp_path)
    names, visits, contrasts, classes, marked, ignored = EXPECTED[name]
    read = subjects(cohort)
    assert " ".join(f"{subject.name}:{subject.patient}" for subject in read) == names
    assert cohort.incomplete == ()
    assert cohort.layout.contrasts == tuple(contrasts.split())
    for files, subject in zip(cohort.cases, read, strict=True):
        assert subject.classes == tuple(classes.split())
        assert len(subject.visits) == visits
        assert all(len(visit) == len(contrasts.split()) for visit in subject.visits)
        assert all(path.is_file() for path in files.all())
    first = read[0]
    assert first.reference is not None
    assert np.count_nonzero(first.reference) == marked
    assert np.count_nonzero(first.ignore) == ignored if ignored else first.ignore is None


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("lost", ["reference", "visit"])
def test_a_case_that_lost_a_file_is_named_with_what_it_lacks(tmp_path: Path, name: str, lost: str) -> None:
    WRITERS[name](tmp_path)
    whole = open_cohort(tmp_path)
    files = whole.cases[0]
    gone = (files.reference, *files.more) if lost == "reference" else files.visits[-1][-1:]
    for path in gone:
        assert path is not None
        path.unlink()
    if name == "cvc-clinicdb":
        shutil.rmtree(tmp_path / "TIF")
    cohort = open_cohort(f"{name}:{tmp_path}")
    assert cohort.cases == whole.cases[1:]
    (lacking,) = cohort.incomplete
    assert lacking.name in (files.name, files.patient)
    stem = gone[0].name.split(".")[0]
    said = {"bids": "no lesion mask" if lost == "reference" else "no FLAIR of ses-02"}.get(name, stem)
    assert ("no mask in masks/" if (name, lost) == ("dsb2018", "reference") else said) in lacking.reason


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_folder_is_told_what_the_layout_looks_like(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        open_cohort(f"{name}:{tmp_path}")
    said = str(caught.value)
    assert layouts.get(name).looks_like in said or f"{tmp_path / 'manifest.csv'}: no such file" in said \
        or f"{tmp_path / 'dataset.json'}: no such file" in said  # fmt: skip
    assert "\n" not in said


def test_help_names_every_layout() -> None:
    shown = " ".join(CliRunner().invoke(app, ["data", "--help"], env={"COLUMNS": "150"}).stdout.split())
    assert f"Layouts: {', '.join(layouts.names())} (docs/data.md)" in shown


def test_the_page_of_layouts_has_a_row_for_each() -> None:
    page = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.partition("## Who")[0].splitlines() if line.startswith("| `")}
    assert list(rows) == layouts.names()
    for layout in layouts:
        assert all(f"`{target.name}`" in rows[layout.name] for target in layout.targets), layout.name


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_cohort_travels_between_processes(tmp_path: Path, name: str) -> None:
    cohort = open_cohort(WRITERS[name](tmp_path))
    arrived = pickle.loads(pickle.dumps(cohort))  # noqa: S301  (made here)
    assert (arrived.cases, arrived.layout.labels) == (cohort.cases, cohort.layout.labels)
    assert all(
        np.array_equal(a.reference, b.reference) and all(map(np.array_equal, a.visits, b.visits))
        for a, b in zip(subjects(arrived), subjects(cohort), strict=True)
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_survey_of_a_good_folder_finds_no_problem(tmp_path: Path, name: str) -> None:
    found = survey(open_cohort(WRITERS[name](tmp_path)))
    assert found.problems == ()
    assert len(found.cases) == len(EXPECTED[name][0].split())


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
    with pytest.raises(UsageError, match=rf"say lit:{tmp_path} or ljubljana:{tmp_path}"):
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


def test_a_file_that_is_no_cohort_says_what_may_be_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("x")
    with pytest.raises(UsageError, match=r"is a file, not a folder; .*a file that ends in (\.csv or \.npz|\.npz or)"):
        open_cohort(path)
    with pytest.raises(UsageError, match=r"is a file, not a folder; name the folder that holds the patients$"):
        open_cohort(f"lit:{path}")


# The real sets


@pytest.mark.skipif(not REAL_LIT.is_dir(), reason="the Ljubljana longitudinal set is not beside the project")
def test_real_lit_has_the_known_figures() -> None:
    cohort = open_cohort(REAL_LIT, "change")
    known = {"patient01": (1.42, 0.33, 0.0), "patient03": (0.50, 0.53, 0.026), "patient12": (-0.55, 0.30, 0.0)}
    for files in cohort.cases:
        subject = load_subject(cohort, files)
        inside, spread, outside = known[files.name]
        difference, lesion, brain = difference_of(subject), subject.lesion, subject.brain
        assert difference[lesion].mean() == pytest.approx(inside, abs=0.005)
        assert difference[brain & ~lesion].mean() == pytest.approx(0, abs=0.005)
        assert difference[brain & ~lesion].std() == pytest.approx(spread, abs=0.006)
        assert (lesion & ~brain).sum() / lesion.sum() == pytest.approx(outside, abs=0.001)
        affines = [read_volume(path).affine for visit in files.visits for path in visit]
        affines.append(read_mask(files.reference).affine)
        assert max(np.abs(affine - affines[0]).max() for affine in affines) < 5e-7


@pytest.mark.skipif(not REAL_LIT.is_dir(), reason="the Ljubljana longitudinal set is not beside the project")
def test_real_lit_has_the_known_lesions_in_every_patient() -> None:
    """Nineteen of the twenty patients are at hand; what their components are like is known of all twenty."""
    counts, medians, planes, slices, shares = [], [], [], [], []
    for path in sorted(REAL_LIT.glob("patient*/gt.nii.gz")):
        change = read_mask(path)
        components = cc3d.connected_components(change.array.astype(np.uint8), connectivity=26)
        sizes = np.bincount(components[components > 0])[1:]
        counts.append(len(sizes))
        medians.append(float(np.median(sizes)))
        planes.append(change.spacing_mm[0])
        slices.append(change.spacing_mm[2])
        shares.append(float(change.array.mean()))
    assert len(counts) == 19
    assert (min(counts), max(counts)) == (8, 131)
    assert 0 < 833 - sum(counts) <= 131
    assert (min(medians), max(medians)) == (9, 94)
    assert (round(min(planes), 2), round(max(planes), 2)) == (0.57, 0.90)
    assert (round(min(slices), 1), round(max(slices), 1)) == (3.0, 3.3)
    assert round(min(shares), 5) == 0.00003
    assert max(shares) < 0.0027


@pytest.mark.skipif(not (REAL / "hippocampus").is_dir(), reason="the hippocampus set is not beside the project")
def test_real_hippocampus_is_read_whole() -> None:
    cohort = open_cohort(REAL / "hippocampus")
    assert (cohort.layout.name, len(cohort.cases), cohort.incomplete) == ("hippocampus", 260, ())
    maxima, classes = [], set()
    for files in cohort.cases:
        subject = load_subject(cohort, files)
        assert subject.spacing_mm == pytest.approx((1, 1, 1))
        maxima.append(float(subject.visits[0].max()))
        classes |= set(np.unique(subject.reference).tolist())
    assert classes == {0, 1, 2}
    assert min(maxima) == 112
    assert max(maxima) == pytest.approx(1.7e6, rel=0.01)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_labels_of_a_folder_hold_in_preparation(tmp_path: Path, jobs: int) -> None:
    nnunet(tmp_path / "raw")
    made = prepare_all(open_cohort(tmp_path / "raw"), tmp_path / "out", Recipe(), jobs=jobs)
    assert made.made == 3
    case = load_prepared(tmp_path / "out" / "MS_000.npz")
    assert case.classes == ("oedema", "core")
    assert sorted(np.unique(case.reference)) == [0, 1, 2]
    assert prepare_all(open_cohort(tmp_path / "raw"), tmp_path / "out", Recipe()).kept == 3
    dataset_json(tmp_path / "raw", labels={"background": 0, "core": 1, "oedema": 2, "ignore": 3})
    assert prepare_all(open_cohort(tmp_path / "raw"), tmp_path / "out", Recipe()).made == 3
