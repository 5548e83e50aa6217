"""Every known layout: recognised as itself alone, read as published, and what is missing named."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lesionloss.cli import app
from lesionloss.core.errors import DataError
from lesionloss.data.checking.survey import survey
from lesionloss.data.cohort import open_cohort
from lesionloss.data.layouts import layout_docs, layouts
from lesionloss.data.layouts.records import LayoutGroup
from miniature import WRITERS
from subjects import reference_of, subjects

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
    assert (first.ignore is None) == (ignored == 0)
    assert first.ignore is None or np.count_nonzero(first.ignore) == ignored


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("lost", ["reference", "visit"])
def test_a_case_that_lost_a_file_is_named_with_what_it_lacks(tmp_path: Path, name: str, lost: str) -> None:
    WRITERS[name](tmp_path)
    whole = open_cohort(tmp_path)
    files = whole.cases[0]
    gone = (files.reference, *files.more_references) if lost == "reference" else files.visits[-1][-1:]
    lost_files = [path for path in gone if path is not None]
    assert len(lost_files) == len(gone)
    for path in lost_files:
        path.unlink()
    if name == "cvc-clinicdb":
        shutil.rmtree(tmp_path / "TIF")
    cohort = open_cohort(f"{name}:{tmp_path}")
    assert cohort.cases == whole.cases[1:]
    (lacking,) = cohort.incomplete
    assert lacking.name in (files.name, files.patient)
    stem = lost_files[0].name.split(".")[0]
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


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "150"})
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_help_names_every_layout() -> None:
    assert f"Layouts: {', '.join(layouts.names())}." in run("data", "--help")


def test_the_list_of_layouts_has_a_row_for_each() -> None:
    shown = run("layouts")
    for layout in layouts:
        assert f"{layout.name} " in shown
        assert all(target.name in shown for target in layout.targets), layout.name


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_card_of_a_layout_says_how_the_folder_looks_and_what_can_be_segmented(name: str) -> None:
    layout, shown = layouts.get(name), "".join(run("layouts", name).split())
    assert "".join(layout.looks_like.split()) in shown
    assert all("".join(f"{target.name}:{target.title}".split()) in shown for target in layout.targets)
    assert "".join(layout_docs.description(layout)[0].split()) in shown


def test_groups_stand_in_one_order_and_layouts_by_name_within_them() -> None:
    places = [(list(LayoutGroup).index(layout.group), layout.name) for layout in layouts]
    assert places == sorted(places)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_cohort_travels_between_processes(tmp_path: Path, name: str) -> None:
    cohort = open_cohort(WRITERS[name](tmp_path))
    arrived = pickle.loads(pickle.dumps(cohort))  # noqa: S301  (made here)
    assert (arrived.cases, arrived.layout.labels) == (cohort.cases, cohort.layout.labels)
    assert all(
        np.array_equal(reference_of(a), reference_of(b)) and all(map(np.array_equal, a.visits, b.visits))
        for a, b in zip(subjects(arrived), subjects(cohort), strict=True)
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_survey_of_a_good_folder_finds_no_problem(tmp_path: Path, name: str) -> None:
    found = survey(open_cohort(WRITERS[name](tmp_path)))
    assert found.problems == ()
    assert len(found.cases) == len(EXPECTED[name][0].split())
