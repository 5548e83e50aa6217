"""What was judged is what runs: scores of a benchmark run are those of `predict` and `evaluate` on the raw files."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from lesionloss.bench.run import run
from lesionloss.data.prepared import load_prepared
from lesionloss.inference import predict_probability
from lesionloss.inference.difference_threshold import depth_below_surface_mm
from lesionloss.inference.predict import PredictSettings, judged_mode, predict_cases, sources_in
from lesionloss.networks.bundle import load_bundle, save_bundle
from make_cohort import write_cohort
from tiny_runs import network_folder, tiny_plan

MODES: dict[str, dict[str, object]] = {
    "windows": {"window": [16, 8, 8], "overlap": 0.25},
    "whole images": {"whole_image": True},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort whose first patient has a tight brain mask: lesion voxels lie outside, as in real data."""
    folder = write_cohort(tmp_path_factory.mktemp("data"), (3, 2, 2, 1))
    path = folder / "training" / "001" / "brain_mask.nii.gz"
    image = nibabel.load(path)
    lesion = np.asarray(nibabel.load(path.with_name("ground_truth.nii.gz")).dataobj) > 0
    mask = np.asarray(image.dataobj)
    edge = int(np.argwhere(lesion)[:, 0].max())
    mask[edge:] = 0
    nibabel.save(nibabel.Nifti1Image(mask, image.affine), path)
    assert (lesion & (mask == 0)).any()
    return folder


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("mode", MODES)
def test_predict_and_evaluate_give_the_scores_of_the_run(mode: str, data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(data, ("dice",), inference={**MODES[mode], "threshold": 0.05})
    run(
        plan.changed({"training": {**plan.training.model_dump(), "steps": 12, "learning_rate": 0.02}}), tmp_path / "run"
    )
    trial = network_folder(tmp_path / "run")
    scores = pd.read_csv(trial / "scores.csv", dtype={"case": str})
    judged = scores[(scores.metric == "dice") & (scores.split == "test")].set_index("case").value.to_dict()
    assert 0 < sum(judged.values()) < len(judged)
    bundle = load_bundle(trial)
    settings = PredictSettings(precision=bundle.record.precision)
    sources, _ = sources_in(f"msseg2:{data}")
    predicted, failures = predict_cases(bundle, sources, tmp_path / "out", settings, folder_each=True)
    assert not failures
    for case in predicted:
        if case.name not in judged:
            continue
        assert case.mode.startswith(str(judged_mode(bundle)))
        mask = np.asarray(nibabel.load(case.files.mask).dataobj) > 0
        truth = nibabel.load(data / "training" / case.name / "ground_truth.nii.gz")
        reference = np.asarray(truth.dataobj) > 0
        found = 2 * (mask & reference).sum() / (mask.sum() + reference.sum())
        assert found == pytest.approx(judged[case.name], abs=1e-6)
        prepared = load_prepared(tmp_path / "run" / "cohort" / f"{case.name}.npz")
        stored = np.load(trial / "predictions" / f"{case.name}.npz")["probability"]
        box = tuple(slice(cut, cut + side) for cut, side in zip(prepared.offset, prepared.shape, strict=True))
        own = np.asarray(nibabel.load(case.files.probability).dataobj)[box]
        np.testing.assert_allclose(np.where(stored > 0, own, 0), stored, atol=1e-6)
    assert len(set(judged) & {case.name for case in predicted}) == len(judged)


@pytest.mark.usefixtures("no_pictures")
def test_the_depth_of_a_models_record_holds_for_its_weights_of_half_precision(data: Path, tmp_path: Path) -> None:
    plan = tiny_plan(data, ("dice",), inference={"window": [16, 8, 8], "overlap": 0.25})
    run(plan.changed({"training": {**plan.training.model_dump(), "learning_rate": 0.02}}), tmp_path / "run")
    trained = load_bundle(network_folder(tmp_path / "run"))
    update = {"depth_mm": 4.5}
    save_bundle(tmp_path / "model", trained.network, trained.record.model_copy(update=update), half=True)
    bundle = load_bundle(tmp_path / "model")
    sources, _ = sources_in(f"msseg2:{data}")
    settings = PredictSettings(precision=bundle.record.precision)
    predicted, failures = predict_cases(bundle, sources, tmp_path / "out", settings, folder_each=True)
    assert not failures
    for found in predicted:
        case = load_prepared(tmp_path / "run" / "cohort" / f"{found.name}.npz")
        judged = predict_probability(bundle.network, case, judged_mode(bundle), precision="float32", device="cpu")
        box = tuple(slice(cut, cut + side) for cut, side in zip(case.offset, case.shape, strict=True))
        own = np.asarray(nibabel.load(found.files.probability).dataobj)[box]
        deep = depth_below_surface_mm(case.brain, case.spacing_mm) >= 4.5
        np.testing.assert_allclose(own, np.where(deep, judged, 0), atol=1e-6)
        assert (~deep & (judged > 1e-6)).any()
        assert json.loads(found.files.record.read_text())["depth_mm"] == 4.5


def test_both_modes_are_recorded_in_the_bundle(data: Path, tmp_path: Path) -> None:
    records = {}
    for mode, settings in MODES.items():
        run(tiny_plan(data, ("dice",), inference=settings), tmp_path / mode)
        records[mode] = load_bundle(network_folder(tmp_path / mode)).record
    assert (records["windows"].whole_image, records["whole images"].whole_image) == (False, True)
    assert (records["windows"].window, records["windows"].overlap) == ((16, 8, 8), 0.25)
    assert {record.precision for record in records.values()} == {"float32"}
