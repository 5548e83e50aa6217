"""From raw files to new lesions: right place, right grid, whole files, clear refusals."""

import csv
import gzip
import json
import re
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn
from typer.testing import CliRunner

from lesionloss import DataError, UsageError
from lesionloss.bench.run import run
from lesionloss.bundle import Bundle, Record, load_bundle
from lesionloss.cli import app
from lesionloss.data.cohort import open_cohort
from lesionloss.data.prepare import prepare_all, prepare_cohort
from lesionloss.data.recipe import Recipe, Register, Resample
from lesionloss.data.register import move_image
from lesionloss.data.resample import Grid
from lesionloss.inference import Whole, Windows
from lesionloss.inference.masks import numbered_lesions
from lesionloss.networks import Outputs
from lesionloss.predict import Asked, predict_sources, source_of_files, sources_in
from lesionloss.predict.computing import predict_ready
from lesionloss.predict.naming import bids_places
from lesionloss.predict.preparing import _registration, make_ready
from lesionloss.synth.patient import SyntheticPatient, synthesise
from lesionloss.synth.profiles import profile_settings
from make_cohort import write_cohort
from test_run import tiny_plan

CHANNELS = ("baseline", "followup", "difference")
OBLIQUE = np.array([[-0.8, 0.1, 0.0, 40.0], [0.1, 0.9, -0.2, -30.0], [0.0, 0.2, 2.5, 12.0], [0.0, 0.0, 0.0, 1.0]])
SHAPE = (40, 36, 18)
LESION = (slice(20, 23), slice(14, 18), slice(8, 11))


class Brightening(nn.Module):
    """New lesion where the difference of the visits is large."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> Outputs:
        lesion = 4 * (x[:, 2:3] - 8)
        return Outputs(lesion if self.outputs == 1 else torch.cat([0 * lesion, lesion, lesion - 1], 1))


def bundle_of(outputs: int = 1, **changes: object) -> Bundle:
    record = Record(network="unet3d", channels=CHANNELS, window=(16, 16, 16), weights_sha256="0" * 64)
    return Bundle(Brightening(outputs), record.model_copy(update=changes))


def write(path: Path, array: np.ndarray, affine: np.ndarray = OBLIQUE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


@pytest.fixture
def visits(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two visits with one new lesion on an oblique grid, and their brain mask."""
    rng = np.random.default_rng(0)
    grid = np.indices(SHAPE).transpose(1, 2, 3, 0)
    brain = (((grid - np.array(SHAPE) / 2) / (np.array(SHAPE) / 2 - 2)) ** 2).sum(-1) < 1
    images = [np.where(brain, 100 + rng.normal(size=SHAPE), 0).astype(np.float32) for _ in range(2)]
    images[1][LESION] += 20
    return (
        write(tmp_path / "raw" / "baseline.nii.gz", images[0]),
        write(tmp_path / "raw" / "followup.nii.gz", images[1]),
        write(tmp_path / "raw" / "brain.nii.gz", brain.astype(np.uint8)),
    )


@pytest.fixture
def unpainted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheets take seconds to draw; where they are not looked at, a file of their name will do."""
    monkeypatch.setattr("lesionloss.predict.sheet.save_sheet", lambda path, _shown: path.write_bytes(b"sheet"))


def test_a_new_lesion_is_found_in_the_followups_own_grid(visits: tuple[Path, Path, Path], tmp_path: Path) -> None:
    baseline, followup, brain = visits
    source = source_of_files([baseline], [followup], brain)
    (done,), failures = predict_sources(bundle_of(), [source], tmp_path / "out", Asked(), folder_each=False)
    assert not failures
    mask, probability = nibabel.load(done.places.mask), nibabel.load(done.places.probability)
    expected = np.zeros(SHAPE, bool)
    expected[LESION] = True
    for image in (mask, probability):
        assert image.shape == SHAPE
        assert np.allclose(image.affine, OBLIQUE, atol=1e-5)
    assert np.array_equal(np.asarray(mask.dataobj), expected)
    assert np.array_equal(np.asarray(probability.dataobj) > 0.5, expected)
    (row,) = csv.DictReader(done.places.lesions.open())
    voxel_mm3 = abs(np.linalg.det(OBLIQUE[:3, :3]))
    assert int(row["voxels"]) == 36
    assert float(row["volume_mm3"]) == pytest.approx(36 * voxel_mm3, abs=1e-3)
    centre = OBLIQUE @ [21, 15.5, 9, 1]
    assert [float(row[f"centre_{axis}_mm"]) for axis in "ras"] == pytest.approx(centre[:3], abs=0.01)
    inside = np.asarray(probability.dataobj)[expected]
    assert float(row["mean_probability"]) == pytest.approx(inside.mean(), abs=1e-3)
    assert done.places.sheet.read_bytes().startswith(b"\x89PNG")
    record = json.loads(done.places.record.read_text())
    assert record["lesions"] == 1
    assert record["not_a_medical_device"] is True


@pytest.mark.usefixtures("unpainted")
def test_what_is_there_is_not_done_again_nor_overwritten(visits: tuple[Path, Path, Path], tmp_path: Path) -> None:
    source, out = source_of_files([visits[0]], [visits[1]], visits[2]), tmp_path / "out"

    def once(asked: Asked) -> str:
        (done,), _ = predict_sources(bundle_of(), [source], out, asked, folder_each=False)
        return done.how

    assert once(Asked())
    before = (out / "new_lesions.nii.gz").stat().st_mtime_ns
    assert not once(Asked())
    with pytest.raises(UsageError, match=r"new_lesions\.nii\.gz exists, made otherwise; .*--force"):
        once(Asked(threshold=0.3))
    assert (out / "new_lesions.nii.gz").stat().st_mtime_ns == before
    assert once(Asked(threshold=0.3, force=True))
    (out / "lesions.csv").unlink()  # as if killed before it was whole
    assert once(Asked(threshold=0.3, force=True))


@pytest.mark.usefixtures("unpainted")
def test_small_lesions_are_left_out_by_volume(visits: tuple[Path, Path, Path], tmp_path: Path) -> None:
    source = source_of_files([visits[0]], [visits[1]], visits[2])
    volume = 36 * abs(float(np.linalg.det(OBLIQUE[:3, :3])))
    for limit, lesions in ((volume * 0.99, 1), (volume * 1.01, 0)):
        asked = Asked(min_volume_mm3=limit, force=True)
        (done,), _ = predict_sources(bundle_of(), [source], tmp_path / "out", asked, folder_each=False)
        assert len(done.lesions) == lesions
        assert nibabel.load(done.places.mask).get_fdata().any() == bool(lesions)
        assert done.places.sheet.is_file()


def test_several_classes_get_numbers_and_maps_of_their_own(visits: tuple[Path, Path, Path], tmp_path: Path) -> None:
    source = source_of_files([visits[0]], [visits[1]], visits[2])
    bundle = bundle_of(3, classes=("new", "growing"))
    (done,), _ = predict_sources(bundle, [source], tmp_path / "out", Asked(), folder_each=False)
    assert set(np.unique(nibabel.load(done.places.mask).get_fdata())) == {0, 1}
    assert [lesion.kind for lesion in done.lesions] == ["new"]
    maps = [nibabel.load(tmp_path / "out" / f"probability_{kind}.nii.gz").get_fdata() for kind in ("new", "growing")]
    assert np.allclose(sum(maps), nibabel.load(done.places.probability).get_fdata(), atol=1e-6)


def test_the_stored_preparation_is_replayed(visits: tuple[Path, Path, Path]) -> None:
    source = source_of_files([visits[0]], [visits[1]], visits[2])
    narrow, wide = (make_ready(source, bundle_of(preparation={"margin_voxels": n}).record).case for n in (0, 1))
    assert narrow.shape != wide.shape
    straight = np.diag([1.2, 0.9, 2.5, 1.0])
    again = [write(path, nibabel.load(path).get_fdata().astype(np.float32), straight) for path in visits]
    source = source_of_files([again[0]], [again[1]], again[2])
    steps = ["n4", "brain", "resample", "crop", "normalise", "difference"]
    settings = {"steps": steps, "n4": {"iterations": [2]}, "resample": {"spacing_mm": [1.5, 1.0, 2.0]}}
    ready = make_ready(source, bundle_of(preparation=settings).record)
    assert list(ready.steps) == steps[:-1]
    assert ready.case.spacing_mm == pytest.approx((1.5, 1.0, 2.0))
    assert ready.home(ready.case.lesion).shape == ready.shape == SHAPE
    assert np.allclose(ready.affine, straight, atol=1e-5)
    assert any("bias fields removed" in note for note in ready.notes)
    assert any("predicted on voxels of 1.5 x 1 x 2 mm" in note for note in ready.notes)
    with pytest.raises(DataError, match=r"preparation .* is not known to this lesionloss"):
        make_ready(source, bundle_of(preparation={"steps": ["n5"]}).record)


def test_a_cohort_made_by_prepare_and_its_raw_files_give_the_same(tmp_path: Path) -> None:
    """A bundle stores what the index of a prepared cohort says; replayed on raw files it gives the same case."""
    cohort = open_cohort(f"msseg2:{write_cohort(tmp_path / 'data', (2,))}")
    recipe = Recipe(steps=("n4", "brain", "resample", "crop", "normalise"), resample=Resample(spacing_mm=(1.5, 2, 2.5)))
    index = prepare_all(cohort, tmp_path / "prepared", recipe).index
    bundle = bundle_of(preparation=dict(index.preparation), channels=CHANNELS[:2])
    (raw,), (stored,) = sources_in(f"msseg2:{cohort.root}")[0], sources_in(str(tmp_path / "prepared"))[0]
    one, other = (make_ready(source, bundle.record) for source in (raw, stored))
    assert one.case.content_sha256 == other.case.content_sha256
    assert one.shape == other.shape
    assert np.allclose(one.affine, other.affine)
    assert not other.notes
    plain = make_ready(stored, bundle_of(channels=CHANNELS[:2]).record)
    assert "prepared otherwise than the model's training cases: n4, resample, steps differ" in plain.notes[0]


@pytest.fixture(scope="module")
def moved_visits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path, SyntheticPatient]:
    """A synthetic patient whose baseline lies on another grid, turned by 7 degrees and shifted; brain on the latter."""
    patient = next(
        found
        for found in (synthesise(3, n, profile_settings("demo", {"spacing_mm": 2.5})) for n in range(9))
        if found.reference.any()
    )
    folder = tmp_path_factory.mktemp("moved")
    baseline, followup = (visit.astype(np.float32) for visit in patient.visits)
    here = Grid(followup.shape, patient.affine)
    turned = np.eye(4)
    cos, sin = np.cos(np.radians(7)), np.sin(np.radians(7))
    turned[:3] = [[cos, -sin, 0, 6], [sin, cos, 0, -4], [0, 0, 1, 3]]
    other = Grid((80, 84, 70), np.diag([2.7, 2.6, 2.8, 1]) + np.array([[0, 0, 0, x] for x in (-106, -140, -88, 0)]))
    moved = move_image(baseline, here, other, np.linalg.inv(turned))
    return (
        write(folder / "first.nii.gz", moved, other.affine),
        write(folder / "second.nii.gz", followup, patient.affine),
        write(folder / "brain.nii.gz", patient.brain.astype(np.uint8), patient.affine),
        patient,
    )


def test_a_baseline_on_another_grid_is_registered_and_lesions_are_found_at_their_place(
    moved_visits: tuple[Path, Path, Path, SyntheticPatient],
) -> None:
    first, second, brain, patient = moved_visits
    ready = make_ready(source_of_files([first], [second], brain), bundle_of().record)
    found = ready.steps["register"]
    assert found["to"] == "followup"
    assert found["rotation_degrees"] == pytest.approx(7, abs=0.5)
    assert re.search(
        r"baseline registered to the follow-up \(their grids differ\): (6\.[5-9]|7(\.[0-5])?) degrees", ready.notes[0]
    )
    assert ready.shape == patient.reference.shape
    assert np.allclose(ready.affine, patient.affine, atol=1e-4)
    difference = ready.home(ready.case.image[2])
    numbers = numbered_lesions(patient.reference > 0, 26)
    lesions = [numbers == n for n in range(1, numbers.max() + 1)]
    lesion = max(lesions, key=lambda inside: difference[inside].sum())  # the one that stands out most
    middle = np.argwhere(lesion).mean(axis=0)
    bright = numbered_lesions(ndimage.gaussian_filter(difference, 0.7) > 0.5 * difference[lesion].mean(), 26)
    nearest = min(np.linalg.norm(np.argwhere(bright == n).mean(axis=0) - middle) for n in range(1, bright.max() + 1))
    assert nearest < 1.0


def test_registration_can_be_refused_or_asked_for(moved_visits: tuple[Path, Path, Path, SyntheticPatient]) -> None:
    first, second, brain, _ = moved_visits
    source = source_of_files([first], [second], brain)
    with pytest.raises(DataError, match=r"not on one grid.*leave out --no-register"):
        make_ready(source, bundle_of().record, register=False)
    asked = _registration(source.files, Recipe(), True)
    assert asked == (Register(to="followup"), "as asked")
    halfway = Recipe(steps=("register", "brain", "crop", "normalise", "difference"))
    assert _registration(source.files, halfway, None) == (Register(to="halfway"), "as the model's training cases were")
    one_grid = source_of_files([second], [second])
    assert _registration(one_grid.files, Recipe(), None) == (None, "")


def test_other_voxels_and_other_axes_than_those_of_training_are_said(visits: tuple[Path, Path, Path]) -> None:
    source = source_of_files([visits[0]], [visits[1]], visits[2])
    for training, says in (
        ({"spacing_mm": [0.8, 0.9, 1.0]}, "trained on voxels of 0.8 x 0.9 x 1 mm"),
        ({"axes": "SAR"}, "axes of the images run LAS, those that the model was trained on SAR"),
    ):
        (note,) = make_ready(source, bundle_of(training=training).record).notes
        assert says in note
    alike = {"spacing_mm": [0.85, 0.95, 2.4], "axes": "RAS"}
    assert not make_ready(source, bundle_of(training=alike).record).notes


def test_a_model_for_other_channels_says_so(visits: tuple[Path, Path, Path]) -> None:
    source = source_of_files([], [visits[1]], visits[2])
    with pytest.raises(DataError, match="trained on baseline, followup, difference, these files give contrast1"):
        make_ready(source, bundle_of().record)
    with pytest.raises(UsageError, match="--followup is missing"):
        source_of_files([visits[0]], [])
    with pytest.raises(UsageError, match="--baseline has 2 files, --followup 1"):
        source_of_files(list(visits[:2]), [visits[1]])


def test_a_missing_brain_mask_is_made_and_said(visits: tuple[Path, Path, Path]) -> None:
    (note,) = make_ready(source_of_files([visits[0]], [visits[1]]), bundle_of().record).notes
    assert "no brain mask" in note
    assert not make_ready(source_of_files([visits[0]], [visits[1]], visits[2]), bundle_of().record).notes


def test_too_little_memory_leads_to_a_smaller_way(visits: tuple[Path, Path, Path]) -> None:
    class Hungry(nn.Module):
        """A network that fits for windows only."""

        multiple = 4

        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.ReLU()
            self.tried: list[tuple[int, ...]] = []

        def forward(self, x: Tensor) -> Tensor:
            if type(x) is Tensor:
                self.tried.append(tuple(x.shape[2:]))
                if max(x.shape[2:]) > 20:
                    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            return self.norm(x[:, 2:3])

    bundle = replace(bundle_of(), network=Hungry())
    ready = make_ready(source_of_files([visits[0]], [visits[1]], visits[2]), bundle.record)
    found, choice = predict_ready(bundle, ready, Asked())
    assert isinstance(choice.way, Windows)
    assert max(bundle.network.tried[0]) > 20
    assert found.shape[1:] == ready.case.shape
    with pytest.raises(UsageError, match="does not fit the memory of cpu; take smaller windows"):
        predict_ready(bundle, ready, Asked(way=Whole()))


@pytest.mark.usefixtures("unpainted")
def test_bids_names(tmp_path: Path, visits: tuple[Path, Path, Path]) -> None:
    followup = tmp_path / "raw" / "sub-07_ses-m12_FLAIR.nii.gz"
    visits[1].rename(followup)
    source = source_of_files([visits[0]], [followup], visits[2])
    (done,), _ = predict_sources(bundle_of(), [source], tmp_path / "out", Asked(), folder_each=False, bids=True)
    stem = "sub-07/ses-m12/anat/sub-07_ses-m12_label-lesion_desc-new"
    assert done.places.mask == tmp_path / "out" / f"{stem}_mask.nii.gz"
    assert (tmp_path / "out" / f"{stem}_probseg.nii.gz").is_file()
    assert (tmp_path / "out" / f"{stem}_lesions.tsv").read_text().startswith("lesion\tclass")
    described = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    with pytest.raises(UsageError, match="letters or digits"):
        bids_places(tmp_path, "--", "")
    with pytest.raises(UsageError, match="would both be written"):
        predict_sources(bundle_of(), [source, source], tmp_path / "two", Asked(), folder_each=False, bids=True)


@pytest.mark.usefixtures("unpainted")
def test_a_cohort_goes_on_after_a_case_that_fails(tmp_path: Path) -> None:
    root = write_cohort(tmp_path / "data")
    broken = root / "training" / "002" / "flair_time02_on_middle_space.nii.gz"
    broken.write_bytes(gzip.compress(b"no image"))
    sources, _ = sources_in(f"msseg2:{root}")
    told: list[tuple[str, int, int]] = []
    done, failures = predict_sources(
        bundle_of(), sources, tmp_path / "out", Asked(), folder_each=True, progress=lambda *a: told.append(a)
    )
    assert [case.name for case in done] == ["001", "003", "004"]
    assert len(failures) == 1
    assert "002" in failures[0]
    assert "export it again" in failures[0]
    assert told[-1] == ("004", 4, 4)
    assert not (tmp_path / "out" / "002").exists()


@pytest.mark.usefixtures("unpainted")
def test_prepared_cases_give_what_their_raw_files_give(tmp_path: Path) -> None:
    root = write_cohort(tmp_path / "data", (2, 1))
    prepare_cohort(open_cohort(f"msseg2:{root}"), tmp_path / "prepared")
    found = []
    for name, place in (("raw", f"msseg2:{root}"), ("prepared", str(tmp_path / "prepared"))):
        done, _ = predict_sources(bundle_of(), sources_in(place)[0], tmp_path / name, Asked(), folder_each=True)
        found.append([nibabel.load(case.places.mask) for case in done])
    for raw, prepared in zip(*found, strict=True):
        assert np.asarray(raw.dataobj).any()
        assert np.array_equal(np.asarray(raw.dataobj), np.asarray(prepared.dataobj))
        assert np.allclose(raw.affine, prepared.affine)
    (one,), _ = sources_in(str(tmp_path / "prepared" / "001.npz"))
    assert one.name == "001"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run's first model and the cohort it was trained on."""
    data = write_cohort(tmp_path_factory.mktemp("data"))
    out = tmp_path_factory.mktemp("runs") / "tiny"
    run(tiny_plan(data, ("dice",)), out)
    return next(out.glob("trials/*/model.json")).parent, data


def test_a_runs_model_is_a_bundle_with_its_preparation(trained: tuple[Path, Path]) -> None:
    bundle = load_bundle(trained[0])
    assert bundle.record.preparation["crop"] == {"margin_voxels": 2}
    assert bundle.record.preparation["steps"] == ["brain", "crop", "normalise", "difference"]
    assert bundle.record.training["axes"] == "RAS"
    assert bundle.record.licence
    assert "their terms hold for weights too" in bundle.record.data_note
    assert bundle.record.channels == CHANNELS
    assert bundle.record.training["loss"] == "dice"


@pytest.mark.usefixtures("unpainted")
def test_the_command_line_predicts(trained: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = trained
    folder = data / "training" / "001"
    files = [
        *("--baseline", str(folder / "flair_time01_on_middle_space.nii.gz")),
        *("--followup", str(folder / "flair_time02_on_middle_space.nii.gz")),
    ]
    runner = CliRunner()
    out = tmp_path / "one"
    command = ["predict", str(model), *files, "--brain", str(folder / "brain_mask.nii.gz"), "--precision", "float32"]
    result = runner.invoke(app, [*command, "--out", str(out), "--flips", "--way", "windows(size=8, overlap=0.5)"])
    assert result.exit_code == 0, result.output
    assert "way: windows(size=8) (as asked)" in result.output
    names = {"new_lesions.nii.gz", "probability.nii.gz", "lesions.csv", "pictures.png", "prediction.json"}
    assert {path.name for path in out.iterdir()} == names
    result = runner.invoke(app, ["predict", str(model), "--cohort", f"msseg2:{data}", "--out", str(tmp_path / "all")])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "all").glob("*/new_lesions.nii.gz"))) == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "predict needs images"),
        (["--cohort", "x", "--followup", "y.nii.gz"], "not both"),
        (["--followup", "y.nii.gz", "--threshold", "1.5"], "--threshold is a probability"),
        (["--followup", "y.nii.gz", "--min-volume", "-1"], "--min-volume is a volume"),
        (["--followup", "y.nii.gz", "--connectivity", "7"], "6, 18 or 26"),
        (["--followup", "y.nii.gz", "--way", "hole"], "did you mean 'whole'"),
        (["--followup", "absent.nii.gz"], "absent.nii.gz: no such file"),
        (["--cohort", "absent.npz"], "no such prepared case"),
    ],
)
def test_wrong_options_are_one_line(trained: tuple[Path, Path], tmp_path: Path, options: list[str], says: str) -> None:
    result = CliRunner().invoke(app, ["predict", str(trained[0]), *options, "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, UsageError | DataError)
    assert says in str(result.exception)
    assert "\n" not in str(result.exception)
