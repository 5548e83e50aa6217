"""Files as they come from a scanner give what prepared ones give; pairs that are none are refused."""

import json
from dataclasses import replace
from pathlib import Path

import edt
import nibabel
import numpy as np
import pytest
import torch
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from scipy import ndimage
from torch import Tensor, nn

from lesionloss import DataError
from lesionloss.data.resampling.along_motion import move_image
from lesionloss.data.resampling.grid import VoxelGrid
from lesionloss.inference import WholeImage
from lesionloss.inference.predict import PredictSettings, predict_case, replay_preparation, source_of_files
from lesionloss.inference.predict.output_files import plain_output_files
from lesionloss.inference.predict.plausibility import Finding, noise_of, of_lesions, of_visits
from lesionloss.inference.predict.predict_in_memory import predict_ready
from lesionloss.inference.predict.replay_preparation import ReadyCase, make_ready
from lesionloss.networks import Outputs
from lesionloss.networks.bundle import Bundle
from lesionloss.synth.patient import SyntheticPatient, synthesise
from lesionloss.synth.profiles import profile_settings
from predict_cases import bundle_of, load, write

MATCHED = {"steps": ["orient", "brain", "crop", "normalise", "match", "subtract"]}


class Brighter(nn.Module):
    """New lesion where the mean difference of 3³ voxels is large."""

    def forward(self, x: Tensor) -> Outputs:
        return Outputs(4 * (torch.nn.functional.avg_pool3d(x[:, 2:3], 3, 1, 1) - 0.6))


@pytest.fixture(scope="module")
def patient() -> SyntheticPatient:
    """A synthetic patient with six more lesions of 4³ voxels deep in the brain."""
    found = synthesise(3, 2, profile_settings("lit", {"spacing_mm": 2.5}))
    baseline, followup = found.visits
    brighter = followup.copy()
    depth = edt.edt(found.brain, anisotropy=(2.5,) * 3, parallel=1)
    places = np.argwhere(depth > 15)
    for x, y, z in places[np.linspace(0, len(places) - 1, 8).astype(int)[1:-1]]:
        brighter[x - 2 : x + 2, y - 2 : y + 2, z - 2 : z + 2] += int(2 * followup[found.brain].std())
    return replace(found, visits=(baseline, brighter))


def from_the_scanner(image: np.ndarray, brain: np.ndarray, slope: float) -> np.ndarray:
    """A head around a brain: dark bone, bright scalp, air; and a bias field along the first two axes."""
    depth = edt.edt(~brain, anisotropy=(2.5,) * 3, parallel=1)
    level = float(np.median(image[brain]))
    head = np.where(brain, image, np.where(depth < 7, 0.1 * level, np.where(depth < 12, 0.9 * level, 0)))
    x, y = (np.linspace(-1, 1, n) for n in image.shape[:2])
    return np.asarray(head * (1 + slope * x[:, None, None] - slope / 2 * y[None, :, None] ** 2), np.float32)


def stored_along(path: Path, axes: str) -> Path:
    image = load(path)
    turn = ornt_transform(io_orientation(image.affine), axcodes2ornt(axes))
    turned = image.as_reoriented(turn)
    return write(path.with_name(f"{axes}_{path.name}"), np.asarray(turned.dataobj), turned.affine)


def written(folder: Path, patient: SyntheticPatient, *visits: np.ndarray) -> tuple[Path, Path, Path]:
    brain = patient.brain.astype(np.uint8)
    first, second, mask = (write(folder / f"{n}.nii", a, patient.affine) for n, a in enumerate((*visits, brain)))
    return first, second, mask


def marked(ready: ReadyCase) -> np.ndarray:
    """The mask of `Brighter` on the follow-up's own grid, its axes along RAS."""
    bundle = Bundle(Brighter(), bundle_of().record)
    found = ready.on_own_grid(predict_ready(bundle, ready, PredictSettings(mode=WholeImage()))[0][0]) > 0.5
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(found.astype(np.uint8), ready.affine))
    return np.asarray(image.dataobj) > 0


def test_raw_files_give_nearly_the_mask_of_prepared_ones(
    patient: SyntheticPatient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skull, bias fields, a baseline turned by 5 degrees on another grid, other orientations, and no brain mask."""
    monkeypatch.setattr(replay_preparation, "find_program", lambda _: None)
    record = bundle_of(preparation=MATCHED | {"n4": {"iterations": [20, 10], "voxel_mm": 8}}).record
    visits = tuple(visit.astype(np.float32) for visit in patient.visits)
    first, second, mask = written(tmp_path / "prepared", patient, *visits)
    expected = make_ready(source_of_files([first], [second], mask), record)
    assert not expected.remarks

    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.09), -np.sin(0.09)], [np.sin(0.09), np.cos(0.09)]]
    turn[:3, 3] = (6, -5, 4)
    here = VoxelGrid(visits[0].shape, patient.affine)
    baseline, followup = (from_the_scanner(v, patient.brain, s) for v, s in zip(visits, (0.3, -0.25), strict=True))
    raw = written(tmp_path / "raw", patient, move_image(baseline, here, here, np.linalg.inv(turn)), followup)
    files = [stored_along(raw[0], "PIR"), stored_along(raw[1], "LSA")]
    ready = make_ready(source_of_files([files[0]], [files[1]]), record, raw=True)
    assert list(ready.steps) == ["orient", "register", "n4", "brain", "field_of_view", "crop", "normalise", "match"]
    assert ready.steps["register"]["rotation_degrees"] == pytest.approx(np.degrees(0.09), abs=0.5)
    assert ready.steps["brain"] == {"from": "threshold"}
    one, other = marked(ready) & patient.brain, marked(expected)
    assert other.sum() > 200
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.8
    assert (marked(ready) & ~patient.brain).sum() < other.sum()


def test_what_one_visit_does_not_show_is_left_out_and_said(patient: SyntheticPatient, tmp_path: Path) -> None:
    baseline, followup = (visit.astype(np.float32) for visit in patient.visits)
    baseline[..., :20] = 0  # outside its field of view
    baseline[..., 20] *= 0.4  # the signal of a slab fades
    first, second, mask = written(tmp_path, patient, baseline, followup)
    steps = ["orient", "brain", "field_of_view", "crop", "normalise", "match", "subtract"]
    bundle = Bundle(Brighter(), bundle_of(preparation={"steps": steps}).record)
    out = plain_output_files(tmp_path / "out")
    done = predict_case(bundle, source_of_files([first], [second], mask), out, PredictSettings(mode=WholeImage()))
    found = json.loads(out.record.read_text())["field_of_view"]
    shown = patient.brain[..., 21:].sum() / patient.brain.sum()
    assert found["slices_left_out"] == {"I": 21}
    assert found["share_of_brain"] == pytest.approx(shown, abs=1e-4)
    assert any(note.startswith(f"field of view: both visits show {shown:.1%}") for note in done.notes)
    assert not np.asarray(load(out.probability).dataobj)[..., :21].any()
    blank = np.zeros_like(followup)
    blank[0, 0, 0] = 1
    nothing = written(tmp_path / "none", patient, blank, followup)
    with pytest.raises(DataError, match="no brain in common"):
        make_ready(source_of_files([nothing[0]], [nothing[1]], nothing[2]), bundle.record)


def test_a_followup_that_shows_a_part_of_the_brain_is_refused(patient: SyntheticPatient, tmp_path: Path) -> None:
    first, second, mask = written(tmp_path, patient, *(visit.astype(np.float32) for visit in patient.visits))
    middle = int(np.median(np.nonzero(patient.brain)[2])) + 3
    nibabel.save(load(second).slicer[..., middle:], tmp_path / "cut.nii.gz")
    ready = make_ready(source_of_files([first], [tmp_path / "cut.nii.gz"], mask), bundle_of().record, raw=False)
    shown = patient.brain[..., middle:].sum() / patient.brain.sum()
    assert ready.steps["register"]["share_of_brain"] == pytest.approx(shown, abs=0.02)
    assert "of the brain only" in ready.refusal


def values_of(findings: tuple[Finding, ...]) -> dict[str, float]:
    return {found.measure: found.value for found in findings}


def test_a_pair_that_is_none_is_refused_or_marked(patient: SyntheticPatient, tmp_path: Path) -> None:
    baseline, followup = (visit.astype(np.float32) for visit in patient.visits)
    rng = np.random.default_rng(0)
    brightest = float(np.percentile(baseline[patient.brain], 99))
    noise = 0.05 * float(followup[patient.brain].std()) * rng.normal(size=followup.shape).astype(np.float32)
    pairs = {
        "another contrast": (brightest - baseline).clip(min=0),
        "another patient": np.ascontiguousarray(baseline[:, ::-1]),
        "given twice": followup + noise,
    }
    record = bundle_of(preparation=MATCHED).record
    bundle = Bundle(Brighter(), record)
    settings = PredictSettings(mode=WholeImage())
    for says, other in pairs.items():
        first, second, mask = written(tmp_path / says, patient, np.where(patient.brain, other, 0), followup)
        source, out = source_of_files([first], [second], mask), plain_output_files(tmp_path / says / "out")
        with pytest.raises(DataError, match=f"the visits correlate by .* {says}.*--accept-implausible"):
            predict_case(bundle, source, out, settings)
        assert not out.record.exists()
    done = predict_case(bundle, source, out, replace(settings, accept_implausible=True))
    stored = json.loads(out.record.read_text())
    assert stored["accept_implausible"] is True
    assert stored["implausible"] == [done.notes[0]]
    assert "one scan, given twice" in done.notes[0]
    assert stored["plausibility"]["correlation"]["value"] > 0.99
    first, second, mask = written(tmp_path / "pair", patient, baseline, followup)
    ready = make_ready(source_of_files([first], [second], mask), record)
    assert not any(found.words for found in ready.findings)
    first, second, mask = (tmp_path / "another patient" / path.name for path in (first, second, mask))
    case = make_ready(source_of_files([first], [second], mask), record)
    assert "not aligned (try --raw)" in case.refusal
    assert replace(case, headers=("no orientation",)).refusal == f"{case.refusal}; no orientation"
    assert "or the registration failed" in of_visits(case.case, {**case.steps, "register": {}}, ())[0].words
    assert 0.85 < values_of(ready.findings)["correlation"] < 0.99


def test_what_differs_between_the_visits_is_a_remark(patient: SyntheticPatient, tmp_path: Path) -> None:
    baseline, followup = (visit.astype(np.float32) for visit in patient.visits)
    shaky = followup + 0.5 * float(followup[patient.brain].std()) * np.random.default_rng(0).normal(size=followup.shape)
    first, second, mask = written(tmp_path, patient, baseline, shaky.astype(np.float32))
    ready = make_ready(source_of_files([first], [second], mask), bundle_of().record)
    thick = of_visits(ready.case, {"field_of_view": {"share_of_brain": 0.8}}, [(1, 1, 1), (1, 3, 1)])
    words = {found.measure: found.words for found in thick}
    assert "times as noisy" in words["noise_ratio"]
    assert "follow-up" in words["noise_ratio"]
    assert "voxels of 1 x 1 x 1 mm, then of 1 x 3 x 1 mm" in words["voxel_edge_ratio"]
    assert "80% of the brain" in words["field_of_view"]
    assert not any(found.refused for found in thick)
    assert of_visits(replace(ready.case, channels=("contrast1", "contrast2", "contrast3")), {}, ()) == ()
    brain_mm3 = float(ready.case.brain.sum()) * 2.5**3
    much, many = of_lesions(ready.case, 0.03 * brain_mm3, 151)
    assert much.words.startswith("3.0% of the brain is marked")
    assert many.words.startswith("151 lesions")
    assert not any(found.words for found in of_lesions(ready.case, 0.01 * brain_mm3, 150))


def test_noise_is_measured_beside_anatomy() -> None:
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(40, 40, 20)), 4)
    image = smooth / smooth.std()
    brain = np.ones(image.shape, bool)
    noisy = image + 0.2 * rng.normal(size=image.shape)
    assert noise_of(noisy.astype(np.float32), brain, (1, 1, 3)) == pytest.approx(0.2 / noisy.std(), rel=0.1)
