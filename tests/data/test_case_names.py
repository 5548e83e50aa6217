"""Names of cases: any that can be a file's works from table to prepared case; others are refused in one line."""

import csv
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lesionloss.core.errors import DataError
from lesionloss.data.cohort import open_cohort
from lesionloss.data.cohort_index import load_index
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import PreparationRecipe
from lesionloss.data.prepared import load_prepared
from miniature import labels, volume

RECIPE = PreparationRecipe(steps=("crop",))


def table_of(folder: Path, name: str) -> Path:
    volume(folder / "image.nii", 1)
    labels(folder / "mask.nii", 1)
    path = folder / "table.csv"
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["patient", "visit1", "reference"], [name, "image.nii", "mask.nii"]])
    return path


@settings(max_examples=60, deadline=None)
@given(name=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0/"), min_size=1, max_size=70))
@example("index")
@example("..")
@example("a\u2028b")
@example("[bold]x")
@example("e\u0301")
@example("\U0001f9e0" * 46)
@example("x" * 181)
@example("x" * 180)
def test_a_name_works_or_is_refused(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = table_of(Path(folder), name)
        try:
            cohort = open_cohort(table)
        except DataError as error:
            assert len(str(error).splitlines()) == 1, error  # noqa: PT017
            return
        out = Path(folder) / "out"
        prepare_cohort(cohort, out, RECIPE)
        (entry,) = load_index(out).cases
        assert entry.name == name.strip()
        assert load_prepared(out / f"{entry.name}.npz").name == entry.name
        assert {path.name for path in out.iterdir()} == {"index.json", f"{entry.name}.json", f"{entry.name}.npz"}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("index", "index.json is a file of every prepared cohort"),
        ("Index", "index.json is a file of every prepared cohort"),
        ("x" * 300, "longer than 180 bytes"),
        ("..", "hidden"),
        ("a\tb", "control character"),
    ],
)
def test_names_that_no_file_can_have_are_refused(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(DataError, match=f"{why}.*; rename it"):
        open_cohort(table_of(tmp_path, name))


def test_a_table_called_index_is_a_table(tmp_path: Path) -> None:
    path = table_of(tmp_path, "anna").rename(tmp_path / "index.csv")
    assert len(prepare_cohort(open_cohort(path), tmp_path / "out", RECIPE).index.cases) == 1


def test_a_folder_of_dicom_files_is_told_from_others(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(20))
    assert open_cohort(tmp_path).layout.name == "dicom"
    with pytest.raises(DataError, match=r"DICOM files outside a patient's folder; name the folder that holds PATIENT"):
        open_cohort(tmp_path / "study")
    (tmp_path / "study" / "IM0001").write_bytes(bytes(200))
    with pytest.raises(DataError, match="not a known dataset layout"):
        open_cohort(tmp_path)


def test_a_link_to_the_images_is_followed(tmp_path: Path) -> None:
    volume(tmp_path / "elsewhere" / "image.nii", 1)
    table = table_of(tmp_path / "here", "anna")
    (tmp_path / "here" / "image.nii").unlink()
    (tmp_path / "here" / "image.nii").symlink_to(tmp_path / "elsewhere" / "image.nii")
    assert np.isfinite(load_prepared_of(table, tmp_path / "out").image).all()


def load_prepared_of(table: Path, out: Path):  # type: ignore[no-untyped-def]
    prepare_cohort(open_cohort(table), out, RECIPE)
    return load_prepared(out / "anna.npz")
