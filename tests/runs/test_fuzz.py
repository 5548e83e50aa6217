"""A short fuzz of every reader, and what long ones (`make fuzz`) have found."""

import contextlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from fuzz import attempt
from fuzz_targets import RUN, Target, targets
from lesionloss import DataError, LesionLossError, UsageError
from lesionloss.bench.bookkeeping.trial_list import read_trial_list
from lesionloss.cli.evaluate_options import threshold_in
from lesionloss.core.npz_files import read_npz
from lesionloss.data.array_files import unpack_image, unpack_mask
from lesionloss.data.cohort import open_cohort
from lesionloss.data.cohort_index import load_index
from lesionloss.data.nifti import read_mask, repairs_of
from lesionloss.data.nifti_bytes import checked_bytes
from lesionloss.networks import check_network
from lesionloss.networks.tensor_files import read_tensors
from lesionloss.report.history import loss_bands, vanishing_gradients
from lesionloss.runs.load_run import load
from lesionloss.runs.run_files import check_types
from lesionloss.runs.scores import read_scores
from lesionloss.runs.verify import verify_run
from make_run import make_run, seal_run

NAMES = [
    *(f"{kind}{ending}" for kind in ("image", "mask", "two") for ending in (".nii", ".nii.gz")),
    *("manifest.csv", "dataset.json", "patientsTr.json", "sessions.tsv", "run plan.toml", "run index.json"),
    *("run trial.toml", "run history.csv", "run scores.csv", "manifest.json, sealed", "scores.csv", "arrays.npz"),
    *("index.json", "case.npz", "model.json, sealed", "model.safetensors", "checkpoint.safetensors", "weights.pth"),
    *("plan.toml", "recipe.toml", "synth.toml", "folds.json", "list.json", "trial_list.json, sealed"),
]


@pytest.fixture(scope="module")
def every_target(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return targets(tmp_path_factory.mktemp("fuzz") / "files")


@pytest.mark.parametrize("name", NAMES)
def test_damaged_files_are_refused_in_one_line(every_target: dict[str, Target], name: str) -> None:
    target = every_target[name]
    for number in range(3 if name.startswith("run") else 12):
        found, error, _ = attempt(target, f"test {number}")
        assert found != "failed", error


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", RUN)


def edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('losses = [\n    "dice_ce",\n    "dice",\n]', "losses = true"),
        ("folds = 2", 'folds = "D"'),
        ("folds = 2", "folds = 1000000000000"),
        ("folds = 2", "folds = inf"),
        ("seeds = [\n    1,\n]", 'seeds = ["a"]'),
        ('metrics = [\n    "dice",\n    "hd95",\n]', "metrics = 1"),
    ],
)
def test_a_plan_of_a_run_with_other_types_is_refused(run: Path, old: str, new: str) -> None:
    edit(run / "plan.toml", lambda text: text.replace(old, new))
    with pytest.raises(DataError, match=r"plan\.toml"):
        load(run)


@pytest.mark.parametrize("value", ["fold = inf", "test = 1.5", "test = [{}]", 'threshold = "a"'])
def test_a_trial_with_other_types_is_refused(run: Path, value: str) -> None:
    place = next(run.glob("trials/*/trial.toml"))
    key = value.partition(" ")[0]
    lines = place.read_text().replace("[\n    ", "[").replace(",\n    ", ", ").replace(",\n]", "]").splitlines()
    place.write_text("\n".join([*(line for line in lines if not line.startswith(f"{key} =")), value]))
    seal_run(run)
    with pytest.raises(DataError, match=key):
        load(run)
    assert verify_run(run)


@pytest.mark.parametrize("change", [("shape", [1, 2, 3, 4]), ("spacing_mm", [1e308] * 3), ("name", "../../other")])
def test_a_case_of_a_run_that_is_none_is_refused(run: Path, change: tuple[str, object]) -> None:
    index = run / "cohort" / "index.json"
    record = json.loads(index.read_text())
    record["cases"][0][change[0]] = change[1]
    index.write_text(json.dumps(record))
    with pytest.raises(DataError, match=change[0]):
        load(run)


def test_a_number_beyond_all_floats_is_refused(tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    with pytest.raises(DataError, match="threshold must be float"):
        check_types({"threshold": 10**400}, {"threshold": float}, record)
    record.write_text(f'{{"chosen": {{"threshold": 1{"0" * 400}}}}}')
    with pytest.raises(UsageError, match="no chosen threshold in it"):
        threshold_in(record)


@pytest.mark.parametrize("text", ["step,loss\n1,a\n", "step,loss\nb,0.5\n", "step,loss\n1e300,0.5\n"])
def test_a_history_without_numbers_is_refused(run: Path, text: str) -> None:
    place = next(run.glob("trials/*/history.csv"))
    place.write_text(text)
    seal_run(run)
    with pytest.raises(DataError, match=r"history\.csv is damaged"):
        loss_bands(load(run))
    place.write_text("step,loss,zero_gradient_tensors\n1,0.5,0.9\n")
    assert all(found.seed for found in vanishing_gradients(load(seal_run(run))))


def test_an_epoch_that_is_none_is_refused(run: Path) -> None:
    place = next(run.glob("trials/*/scores.csv"))
    for epoch in ("inf", "1.5", "-1"):
        text = place.read_text()
        place.write_text(text.replace(",last,", f",{epoch},", 1))
        with pytest.raises(DataError, match="expected an epoch"):
            read_scores(place)
        place.write_text(text)


def test_a_manifest_names_files_of_its_trial_only(run: Path) -> None:
    from lesionloss.core.sealed_json import seal

    place = next(run.glob("trials/*/manifest.json"))
    record = json.loads(place.read_text())
    for name in ("../other/scores.csv", "x" * 300, "/etc/passwd"):
        place.write_text(seal(record | {"files": record["files"] | {name: "0" * 64}}))
        with pytest.raises(DataError, match=r"manifest\.json is damaged or was edited"):
            load(run)


@pytest.mark.parametrize(
    ("key", "value"), [("patient", ["a"]), ("reference_mm3", "a"), ("name", "x" * 300), ("shape", ["a"])]
)
def test_an_index_with_other_types_is_refused(tmp_path: Path, key: str, value: object) -> None:
    entry = {
        "name": "a",
        "patient": "a",
        "spacing_mm": [1, 1, 1],
        "shape": [4, 4, 4],
        "reference_voxels": 1,
        "reference_mm3": 1.0,
        "reference_outside_brain": 0,
        "brain": "file",
        "sha256": {},
        "content_sha256": "",
    }
    record = {"layout": "csv", "target": "lesions", "version": 1, "preparation": {}, "cases": [entry], "incomplete": []}
    (tmp_path / "index.json").write_text(json.dumps(record))
    assert load_index(tmp_path).patient_loads() == {"a": 1.0}
    (tmp_path / "index.json").write_text(json.dumps(record | {"cases": [entry | {key: value}]}))
    with pytest.raises(DataError, match="not the index of a prepared cohort"):
        load_index(tmp_path)


def test_a_prepared_case_makes_no_more_than_it_holds() -> None:
    """A shape of 10^12 voxels in a file of a few bytes would fill the memory."""
    with pytest.raises(ValueError, match="a mask of 1 bytes"):
        unpack_mask(np.zeros(1, np.uint8), (10**4, 10**4, 10**4))
    members = {"values": np.zeros((1, 8), np.float32), "kept": np.zeros(1, np.int64), "minus": np.zeros((999, 3), int)}
    with pytest.raises(ValueError, match="999 channels"):
        unpack_image(members, np.ones((2, 2, 2), np.bool_))
    with pytest.raises(ValueError, match="another type"):
        unpack_image(members | {"values": np.zeros((1, 8), np.complex64)}, np.ones((2, 2, 2), np.bool_))


def test_numbers_of_a_trial_list_are_no_texts(tmp_path: Path) -> None:
    (tmp_path / "trial_list.json").write_text('{"format": "2"}')
    with pytest.raises(DataError, match=r"trial_list\.json is damaged"):
        read_trial_list(tmp_path)


def test_a_table_with_endless_numbers_and_names_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "t.csv"
    place.write_text(f"patient,visit{'9' * 5000},reference\na,b,c\n")
    with pytest.raises(DataError, match="no column is called"):
        open_cohort(place)
    place.write_text(f"patient,visit1,reference\na,{'b' * 300},c\n")
    with pytest.raises(DataError, match=r"line 2: File name too long"):
        open_cohort(place)


def _image(path: Path, at: int, kind: str, value: float) -> Path:
    nibabel.Nifti1Image(np.eye(4, dtype=np.uint8)[None], np.eye(4)).to_filename(path)
    content = checked_bytes(path)
    part = struct.pack(kind, value)
    content = content[:at] + part + content[at + len(part) :]
    import gzip

    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("ending", "at", "kind", "value"),
    [
        (".nii.gz", 42, "<h", -32768),
        (".nii", 280, "<f", 1e30),
        (".nii", 112, "<f", float("inf")),
        (".nii", 348, "<i", 1),
    ],
    ids=["a negative side", "an affine out of range", "an infinite slope", "an extension"],
)
def test_a_header_with_odd_numbers_is_one_line(tmp_path: Path, ending: str, at: int, kind: str, value: float) -> None:
    path = _image(tmp_path / f"a{ending}", at, kind, value)
    for reader in (read_mask, lambda path: repairs_of(path, True)):
        with contextlib.suppress(LesionLossError):
            reader(path)


@pytest.mark.filterwarnings("error")
def test_an_affine_of_almost_nothing_is_refused_in_silence(tmp_path: Path) -> None:
    affine = np.diag([0.0, -1.0, 2.0, 1.0])
    affine[0, 1], affine[1, 0] = 8e-320, 3e-310
    image = nibabel.Nifti2Image(np.eye(4, dtype=np.uint8)[None], None)
    image.header.set_sform(affine, 1)
    image.to_filename(tmp_path / "a.nii")
    with pytest.raises(DataError, match="can't be inverted"):
        read_mask(tmp_path / "a.nii")


def test_an_archive_in_parts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(b"PK\x05\x06\xff\xff\xff\xff" + bytes(14))
    with pytest.raises(DataError):
        read_tensors(path)


@pytest.mark.filterwarnings("error")
def test_an_old_header_of_an_array_is_read_in_silence(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1L,), }".ljust(117) + b"\n"
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(4))
    assert read_npz(tmp_path / "a.npz")["a"].tolist() == [0.0]


def test_a_network_with_an_endless_number_is_refused() -> None:
    with pytest.raises(UsageError, match="filters must be at most"):
        check_network("unet3d(filters=99999999999999999999)")


def test_a_message_is_one_line_of_bounded_length() -> None:
    assert "\n" not in str(DataError("a\nb\r"))
    assert len(str(DataError("x" * 10**6))) < 4000
