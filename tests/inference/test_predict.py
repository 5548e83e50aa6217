"""From raw files to new lesions: right place, right grid, whole files, and on after a case that fails."""

import csv
import gzip
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesionloss import UsageError
from lesionloss.core.locks import acquire_lock
from lesionloss.data.cohort import open_cohort
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.inference import Fastest, SlidingWindow, WholeImage
from lesionloss.inference.predict import (
    CaseSource,
    PredictedCase,
    PredictSettings,
    predict_cases,
    source_of_files,
    sources_in,
)
from lesionloss.inference.predict.output_files import bids_output_files
from lesionloss.inference.predict.predict_in_memory import predict_ready
from lesionloss.inference.predict.replay_preparation import make_ready
from lesionloss.networks.bundle import Bundle
from make_cohort import write_cohort
from predict_cases import LESION, OBLIQUE, SHAPE, bundle_of, load


def test_a_new_lesion_is_found_in_the_followups_own_grid(visits: tuple[Path, Path, Path], tmp_path: Path) -> None:
    baseline, followup, brain = visits
    source = source_of_files([baseline], [followup], brain)
    (done,), failures = predict_cases(bundle_of(), [source], tmp_path / "out", PredictSettings(), folder_each=False)
    assert not failures
    mask, probability = load(done.files.mask), load(done.files.probability)
    expected = np.zeros(SHAPE, bool)
    expected[LESION] = True
    for image in (mask, probability):
        assert image.shape == SHAPE
        assert np.allclose(image.affine, OBLIQUE, atol=1e-5)
    assert np.array_equal(np.asarray(mask.dataobj), expected)
    assert np.array_equal(np.asarray(probability.dataobj) >= 0.5, expected)
    (row,) = csv.DictReader(done.files.lesions.open())
    voxel_mm3 = abs(np.linalg.det(OBLIQUE[:3, :3]))
    assert int(row["voxels"]) == 36
    assert float(row["volume_mm3"]) == pytest.approx(36 * voxel_mm3, abs=1e-3)
    centre = OBLIQUE @ [21, 15.5, 9, 1]
    assert [float(row[f"centre_{axis}_mm"]) for axis in "ras"] == pytest.approx(centre[:3], abs=0.01)
    inside = np.asarray(probability.dataobj)[expected]
    assert float(row["mean_probability"]) == pytest.approx(inside.mean(), abs=1e-3)
    assert done.files.sheet.read_bytes().startswith(b"\x89PNG")
    record = json.loads(done.files.record.read_text())
    assert record["lesions"] == 1
    assert record["not_a_medical_device"] is True


@pytest.mark.usefixtures("no_pictures")
def test_existing_results_are_neither_made_again_nor_overwritten(
    visits: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    source, out = source_of_files([visits[0]], [visits[1]], visits[2]), tmp_path / "out"

    def once(settings: PredictSettings) -> str:
        (done,), _ = predict_cases(bundle_of(), [source], out, settings, folder_each=False)
        return done.mode

    assert once(PredictSettings())
    before = (out / "new_lesions.nii.gz").stat().st_mtime_ns
    assert not once(PredictSettings())
    with pytest.raises(UsageError, match=r"new_lesions\.nii\.gz exists, made from other files or settings; .*--force"):
        once(PredictSettings(threshold=0.3))
    assert (out / "new_lesions.nii.gz").stat().st_mtime_ns == before
    assert once(PredictSettings(threshold=0.3, force=True))
    (out / "lesions.csv").unlink()  # as if killed before it was whole
    assert once(PredictSettings(threshold=0.3, force=True))


@pytest.mark.usefixtures("no_pictures")
def test_small_lesions_are_left_out_by_volume(visits: tuple[Path, Path, Path], tmp_path: Path) -> None:
    source = source_of_files([visits[0]], [visits[1]], visits[2])
    volume = 36 * abs(float(np.linalg.det(OBLIQUE[:3, :3])))
    for limit, lesions in ((volume * 0.99, 1), (volume * 1.01, 0)):
        settings = PredictSettings(min_volume_mm3=limit, force=True)
        (done,), _ = predict_cases(bundle_of(), [source], tmp_path / "out", settings, folder_each=False)
        assert len(done.lesions) == lesions
        assert load(done.files.mask).get_fdata().any() == bool(lesions)
        assert done.files.sheet.is_file()


def test_several_classes_get_numbers_and_maps_of_their_own(visits: tuple[Path, Path, Path], tmp_path: Path) -> None:
    source = source_of_files([visits[0]], [visits[1]], visits[2])
    bundle = bundle_of(3, classes=("new", "growing"))
    (done,), _ = predict_cases(bundle, [source], tmp_path / "out", PredictSettings(), folder_each=False)
    assert set(np.unique(load(done.files.mask).get_fdata())) == {0, 1}
    assert [lesion.kind for lesion in done.lesions] == ["new"]
    maps = [load(tmp_path / "out" / f"probability_{kind}.nii.gz").get_fdata() for kind in ("new", "growing")]
    assert np.allclose(sum(maps), load(done.files.probability).get_fdata(), atol=1e-6)


class Undecided(nn.Module):
    """Everywhere 0.48 of background and 0.26 of each of two classes."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([0.48, 0.26, 0.26]).log().reshape(1, 3, 1, 1, 1).expand(len(x), 3, *x.shape[2:]).clone()


@pytest.mark.usefixtures("no_pictures")
def test_a_model_that_takes_the_most_probable_class_does_so_unless_a_threshold_is_given(
    visits: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    source = source_of_files([visits[0]], [visits[1]], visits[2])
    record = bundle_of(3, classes=("new", "growing"), decision="argmax").record
    for threshold, marked in ((None, False), (0.5, True)):
        out = tmp_path / str(threshold)
        settings = PredictSettings(threshold=threshold)
        (done,), _ = predict_cases(Bundle(Undecided(), record), [source], out, settings, folder_each=False)
        assert load(done.files.mask).get_fdata().any() == marked
        assert json.loads(done.files.record.read_text()).get("decision") == (None if marked else "argmax")


def test_too_little_memory_leads_to_a_smaller_window(visits: tuple[Path, Path, Path]) -> None:
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

    network = Hungry()
    bundle = replace(bundle_of(), network=network)
    ready = make_ready(source_of_files([visits[0]], [visits[1]], visits[2]), bundle.record)
    found, choice = predict_ready(bundle, ready, PredictSettings(mode=Fastest()))
    assert isinstance(choice.mode, SlidingWindow)
    assert max(network.tried[0]) > 20
    assert found.shape[1:] == ready.case.shape
    with pytest.raises(UsageError, match="does not fit the memory of cpu; choose a smaller window"):
        predict_ready(bundle, ready, PredictSettings(mode=WholeImage()))


@pytest.mark.usefixtures("no_pictures")
def test_bids_names(tmp_path: Path, visits: tuple[Path, Path, Path]) -> None:
    followup = tmp_path / "raw" / "sub-07_ses-m12_FLAIR.nii.gz"
    visits[1].rename(followup)
    source = source_of_files([visits[0]], [followup], visits[2])
    (done,), _ = predict_cases(bundle_of(), [source], tmp_path / "out", PredictSettings(), folder_each=False, bids=True)
    stem = "sub-07/ses-m12/anat/sub-07_ses-m12_label-lesion_desc-new"
    assert done.files.mask == tmp_path / "out" / f"{stem}_mask.nii.gz"
    assert (tmp_path / "out" / f"{stem}_probseg.nii.gz").is_file()
    assert (tmp_path / "out" / f"{stem}_lesions.tsv").read_text().startswith("lesion\tclass")
    described = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    with pytest.raises(UsageError, match="letters or digits"):
        bids_output_files(tmp_path, "--", "")
    with pytest.raises(UsageError, match="would both be written"):
        predict_cases(bundle_of(), [source, source], tmp_path / "two", PredictSettings(), folder_each=False, bids=True)


@pytest.mark.usefixtures("no_pictures")
def test_a_cohort_goes_on_after_a_case_that_fails(tmp_path: Path) -> None:
    root = write_cohort(tmp_path / "data")
    broken = root / "training" / "002" / "flair_time02_on_middle_space.nii.gz"
    broken.write_bytes(gzip.compress(b"no image"))
    sources, _ = sources_in(f"msseg2:{root}")
    reported: list[tuple[str, int, int]] = []
    done, failures = predict_cases(
        bundle_of(),
        sources,
        tmp_path / "out",
        PredictSettings(),
        folder_each=True,
        progress=lambda *a: reported.append(a),
    )
    assert [case.name for case in done] == ["001", "003", "004"]
    assert len(failures) == 1
    assert "002" in failures[0]
    assert "export it again" in failures[0]
    assert reported[-1] == ("004", 4, 4)
    assert not (tmp_path / "out" / "002").exists()


@pytest.mark.usefixtures("no_pictures")
def test_prepared_cases_give_what_their_raw_files_give(tmp_path: Path) -> None:
    root = write_cohort(tmp_path / "data", (2, 1))
    prepare_cohort(open_cohort(f"msseg2:{root}"), tmp_path / "prepared")
    found = []
    for name, place in (("raw", f"msseg2:{root}"), ("prepared", str(tmp_path / "prepared"))):
        done, _ = predict_cases(bundle_of(), sources_in(place)[0], tmp_path / name, PredictSettings(), folder_each=True)
        found.append([load(case.files.mask) for case in done])
    for raw, prepared in zip(*found, strict=True):
        assert np.asarray(raw.dataobj).any()
        assert np.array_equal(np.asarray(raw.dataobj), np.asarray(prepared.dataobj))
        assert np.allclose(raw.affine, prepared.affine)
    (one,), _ = sources_in(str(tmp_path / "prepared" / "001.npz"))
    assert one.name == "001"


@pytest.mark.usefixtures("no_pictures")
def test_two_calls_share_the_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources, _ = sources_in(f"msseg2:{write_cohort(tmp_path / 'data')}")
    bundle, out, order = bundle_of(), tmp_path / "out", []

    def predict(chosen: Sequence[CaseSource]) -> list[PredictedCase]:
        done, failures = predict_cases(
            bundle, chosen, out, PredictSettings(), folder_each=True, progress=lambda name, *_: order.append(name)
        )
        assert not failures
        return done

    lock = acquire_lock(out / "001" / "prediction.lock")
    assert lock is not None

    def other_call_ends(seconds: float) -> None:
        lock.__exit__(None, None, None)
        predict(sources[:1])

    with monkeypatch.context() as patch:
        lock.__enter__()
        patch.setattr(time, "sleep", other_call_ends)
        done = predict(sources)
    assert order == ["002", "003", "004", "001", "001"]
    assert [case.name for case in done] == ["001", "002", "003", "004"]
    assert "there already" in done[0].notes[0]
    assert not list(out.rglob("*.lock"))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("moved", range(5))
def test_a_kill_between_the_files_of_a_case_is_mended(
    tmp_path: Path, visits: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    source, out = source_of_files([visits[0]], [visits[1]], visits[2]), tmp_path / "out"

    def predict() -> None:
        predict_cases(bundle_of(), [source], out, PredictSettings(), folder_each=False)

    real, left = os.replace, [moved]

    def move(source: Path, target: Path) -> None:
        if Path(source).parent.parent == out and Path(source).parent != out:
            if not left[0]:
                raise SystemExit(137)
            left[0] -= 1
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", move)
        with pytest.raises(SystemExit):
            predict()
    predict()
    assert "finished" not in json.loads((out / "prediction.json").read_text())
    assert len(list(out.iterdir())) == 5


def test_a_case_that_can_not_be_written_ends_everything_and_leaves_no_lock(
    visits: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline, followup, brain = visits
    source = source_of_files([baseline], [followup], brain)
    sources = [replace(source, name=name) for name in ("a", "b", "c")]
    written: list[str] = []

    def full(bundle: object, source: CaseSource, *of: object) -> None:
        written.append(source.name)
        raise OSError(28, "No space left on device")

    module = sys.modules[predict_cases.__module__]
    monkeypatch.setattr(module, "write_case", full)
    with pytest.raises(OSError, match="No space"):
        predict_cases(bundle_of(), sources, tmp_path / "out", PredictSettings(), folder_each=True)
    assert written == ["a"]  # b was predicted meanwhile, c was not begun
    assert not list((tmp_path / "out").rglob("*.lock"))


def test_messages_come_in_the_order_of_the_cases(
    visits: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    baseline, followup, brain = visits
    source = source_of_files([baseline], [followup], brain)
    assert source.files is not None
    absent = (source.files.visits[0], (tmp_path / "absent.nii.gz",))
    missing = replace(source, files=replace(source.files, visits=absent))
    names = ["first", "second", "third", "fourth"]
    given = zip(names, [source, missing, source, missing], strict=True)
    sources = [replace(each, name=name) for name, each in given]
    seen: list[tuple[str, int]] = []
    done, failures = predict_cases(
        bundle_of(),
        sources,
        tmp_path / "out",
        PredictSettings(),
        folder_each=True,
        progress=lambda name, number, total: seen.append((name, number)),
    )
    assert [case.name for case in done] == ["first", "third"]
    assert seen == [(name, number) for number, name in enumerate(names, 1)]
    assert [line.partition(":")[0] for line in failures] == ["second", "fourth"]
