"""The layouts for data of one's own: nnU-Net and LongiSeg, BIDS derivatives, a table of files."""

import json
from pathlib import Path

import pytest

from lesionloss.core.errors import DataError
from lesionloss.data.checking.survey import survey
from lesionloss.data.cohort import load_subject, open_cohort
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import PreparationRecipe
from miniature import bids, dataset_json, labels, nnunet, table, volume

# nnU-Net and LongiSeg


def test_channels_named_by_visit_are_visits(tmp_path: Path) -> None:
    nnunet(tmp_path)
    for case in range(3):
        for channel in (2, 3):
            volume(tmp_path / "imagesTr" / f"MS_{case:03d}_{channel:04d}.nii.gz", case)
    names = {"0": "baseline FLAIR", "1": "followup_T1", "2": "followup FLAIR", "3": "Baseline-T1"}
    dataset_json(tmp_path, channel_names=names)
    cohort = open_cohort(tmp_path)
    assert cohort.layout.contrasts == ("flair", "t1")
    channels = [[path.name.split("_")[2][:4] for path in visit] for visit in cohort.cases[0].visits]
    assert channels == [["0000", "0003"], ["0002", "0001"]]
    (tmp_path / "patientsTr.json").write_text(json.dumps({"anna": ["MS_000", "MS_002"]}))
    assert [files.patient for files in open_cohort(tmp_path).cases] == ["anna", "MS_001", "anna"]


def test_scans_of_a_patient_become_pairs(tmp_path: Path) -> None:
    nnunet(tmp_path)
    for case in (3, 4):
        for channel in range(2):
            volume(tmp_path / "imagesTr" / f"MS_{case:03d}_{channel:04d}.nii.gz", case)
        labels(tmp_path / "labelsTr" / f"MS_{case:03d}.nii.gz", 1)
    patients = {"anna": ["MS_002", "MS_000", "MS_001"], "ben": ["MS_003"]}
    (tmp_path / "patientsTr.json").write_text(json.dumps(patients))
    cohort = open_cohort(tmp_path)
    assert [(files.name, files.patient) for files in cohort.cases] == [("MS_000", "anna"), ("MS_001", "anna")]
    first = cohort.cases[0]
    assert [visit[0].name for visit in first.visits] == ["MS_002_0000.nii.gz", "MS_000_0000.nii.gz"]
    assert first.reference is not None
    assert first.reference.name == "MS_000.nii.gz"
    assert [(patient.name, patient.reason[:33]) for patient in cohort.incomplete] == [
        ("ben", "patientsTr.json names one scan only"[:33]),
    ]
    assert len(load_subject(cohort, cohort.cases[0]).visits) == 2


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"labels": {"background": 0, "whole": [1, 2]}}, "labels of regions"),
        ({"labels": {"lesion": 1}}, "must hold background with the value 0"),
        ({"labels": {"background": 0}}, "must name 1 to 255 classes"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, "each with its own value"),
        ({"channel_names": {"1": "FLAIR"}}, 'must name the channels from "0"'),
        ({"channel_names": None}, 'must name the channels from "0"'),
        ({"file_ending": ".png"}, "file_ending '.png'; only .nii.gz and .nii are read"),
    ],
)
def test_a_wrong_dataset_json_is_refused(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    dataset_json(nnunet(tmp_path), **changed)
    with pytest.raises(DataError) as caught:
        open_cohort(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'dataset.json'}: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"anna": ["MS_000", "MS_009"]}', "no files of the scan 'MS_009'"),
        ('{"anna": ["MS_000"], "ben": ["MS_000"]}', "the scan 'MS_000' belongs to anna and to ben"),
        ('{"anna": ["MS_000", "MS_000"]}', "a scan is named twice"),
        ('{"anna": "MS_000"}', "expected a list of scans"),
        ('["MS_000"]', "expected an object in braces"),
        ("{", "not valid JSON"),
    ],
)
def test_wrong_patients_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (nnunet(tmp_path) / "patientsTr.json").write_text(text)
    with pytest.raises(DataError) as caught:
        open_cohort(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'patientsTr.json'}: ")
    assert message in str(caught.value)


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    path = nnunet(tmp_path) / "dataset.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert open_cohort(tmp_path).cases


def test_a_declared_class_that_no_file_holds_is_a_warning(tmp_path: Path) -> None:
    dataset_json(nnunet(tmp_path), labels={"background": 0, "a": 1, "b": 2, "c": 3, "nowhere": 4, "ignore": 5})
    (line,) = [line for line in survey(open_cohort(tmp_path)).warnings if "declared" in line]
    assert line.startswith("nowhere: declared, but no case holds a voxel of it")


# BIDS


def test_images_and_masks_of_bids_share_their_space(tmp_path: Path) -> None:
    cohort = open_cohort(bids(tmp_path))
    assert all("space-MNI" in path.name for files in cohort.cases for path in files.all())
    native = tmp_path / "derivatives" / "prep" / "sub-01" / "ses-02" / "anat"
    native.joinpath("sub-01_ses-02_space-MNI_label-lesion_desc-manual_mask.nii.gz").rename(
        native / "sub-01_ses-02_label-lesion_mask.nii.gz"
    )
    first = open_cohort(tmp_path).cases[0]
    assert first.visits[1][0] == tmp_path / "sub-01" / "ses-02" / "anat" / "sub-01_ses-02_FLAIR.nii.gz"
    assert first.brain is None


def test_bids_asks_where_two_masks_could_be_meant(tmp_path: Path) -> None:
    folder = bids(tmp_path) / "derivatives" / "prep" / "sub-01" / "ses-02" / "anat"
    labels(folder / "sub-01_ses-02_space-MNI_label-lesion_desc-rater2_mask.nii.gz", 1)
    (lacking,) = open_cohort(tmp_path).incomplete
    assert lacking.name == "sub-01_ses-02"
    assert "more than one lesion mask" in lacking.reason


def test_bids_without_sessions_has_one_visit(tmp_path: Path) -> None:
    for patient in ("sub-a", "sub-b"):
        volume(tmp_path / patient / "anat" / f"{patient}_FLAIR.nii.gz", 0)
        labels(tmp_path / patient / "anat" / f"{patient}_label-WMH_dseg.nii.gz", 1)
    cohort = open_cohort(tmp_path)
    assert [(files.name, len(files.visits)) for files in cohort.cases] == [("sub-a", 1), ("sub-b", 1)]


def test_a_bids_patient_with_fewer_visits_than_others_is_left_out(tmp_path: Path) -> None:
    folder = bids(tmp_path) / "sub-03" / "ses-01" / "anat"
    volume(folder / "sub-03_ses-01_FLAIR.nii.gz", 0)
    labels(folder / "sub-03_ses-01_label-lesion_mask.nii.gz", 1)
    cohort = open_cohort(tmp_path)
    assert [len(files.visits) for files in cohort.cases] == [2, 2]
    assert [(lacking.name, lacking.reason) for lacking in cohort.incomplete] == [
        ("sub-03_ses-01", "one session only, where others have two")
    ]


# The table of files


def test_the_table_itself_may_be_named(tmp_path: Path) -> None:
    path = table(tmp_path) / "manifest.csv"
    assert open_cohort(path).cases == open_cohort(f"csv:{path}").cases == open_cohort(tmp_path).cases
    assert open_cohort(path).root == tmp_path
    other = path.rename(tmp_path / "Mine.CSV")
    other.write_text("\ufeff" + other.read_text().replace(",", ";"))
    assert len(open_cohort(other).cases) == 3
    assert [files.brain is None for files in open_cohort(other).cases] == [False, False, True]


def test_absolute_paths_may_lead_anywhere(tmp_path: Path) -> None:
    elsewhere = [volume(tmp_path / "x" / "a.nii.gz", 1), labels(tmp_path / "x" / "b.nii.gz", 1)]
    path = tmp_path / "y" / "t.csv"
    path.parent.mkdir()
    path.write_text(f"patient,visit1,reference\nanna,{elsewhere[0]},{elsewhere[1]}\n")
    cohort = open_cohort(path)
    assert cohort.layout.contrasts == ("image",)
    assert load_subject(cohort, cohort.cases[0]).visits[0].shape == (1, 7, 6, 5)


def test_a_change_is_seen_where_files_elsewhere_have_one_name(tmp_path: Path) -> None:
    first, second = (volume(tmp_path / place / "f.nii.gz", seed) for seed, place in enumerate("ab"))
    reference = labels(tmp_path / "c" / "r.nii.gz", 1)
    path = tmp_path / "y" / "t.csv"
    path.parent.mkdir()
    path.write_text(f"patient,visit1,visit2,reference\nanna,{first},{second},{reference}\n")
    assert prepare_cohort(open_cohort(path), tmp_path / "out", PreparationRecipe()).prepared == 1
    volume(first, 7)
    assert prepare_cohort(open_cohort(path), tmp_path / "out", PreparationRecipe()).prepared == 1
    assert prepare_cohort(open_cohort(path), tmp_path / "out", PreparationRecipe()).unchanged == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patiant,visit1,reference\n", "no column is called 'patiant'; did you mean 'patient'?"),
        ("patient,Visit1,reference\n", "no column is called 'Visit1'; did you mean 'visit1'?"),
        ("patient,visit1,visit1,reference\n", "two columns are called 'visit1'"),
        ("patient,visit1\n", "no column 'reference'"),
        ("patient,reference\n", "numbered from visit1 without gaps; got none"),
        ("patient,visit1,visit3,reference\n", r"without gaps; got [1, 3]"),
        ("patient,visit1_flair,visit2_t1,reference\n", "visit2 has the contrasts t1, visit1 flair"),
        ("patient,visit1,reference\na,b\n", "line 2: 2 cells under 3 columns"),
        ("patient,visit1,reference\na,../b.nii,c.nii\n", "line 2, visit1: ../b.nii leads out of the table's folder"),
        ("patient,visit1,reference\na,x/../../b.nii,c.nii\n", "leads out of the table's folder"),
        ("patient,visit1,reference\na,g.nii,g.nii\n\na,g.nii,g.nii\n", "lines 2 and 4: two cases named 'a'"),
        ("patient,visit1,reference\n,g.nii,g.nii\n", "line 2: a patient"),
        ("patient,case,visit1,reference\na,a/b,g.nii,g.nii\n", "without slashes"),
        ("patient,visit1,reference\na,g.nii,\n", "says nothing under reference"),
        ("patient,visit1,reference\na,gone.nii,g.nii\n", "names files that are not there: {root}/gone.nii"),
        ("", "no column 'patient'"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "g.nii").write_bytes(b"")
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        open_cohort(path)
    assert str(path) in str(caught.value)
    assert message.format(root=tmp_path) in str(caught.value)
