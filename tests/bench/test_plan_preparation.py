"""What a plan says of the preparation is what is done, and what the model's bundle repeats."""

import json
from pathlib import Path

import pytest

from lesionloss.bench.make_cohort import load_run_cohort
from lesionloss.bench.plan import Plan
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.inference.predict.predict_inputs import sources_in
from lesionloss.inference.predict.replay_preparation import make_ready
from lesionloss.networks.bundle import BundleRecord
from make_cohort import write_cohort
from tiny_runs import tiny_plan

PREPARATIONS = (
    {"steps": ["brain", "crop", "normalise"], "crop": {"margin_voxels": 1}},
    {
        "steps": ["brain", "resample", "crop", "normalise", "subtract"],
        "resample": {"spacing_mm": [1.5, 1.5, 1.5]},
    },
    None,
)


@pytest.mark.parametrize("prepare", PREPARATIONS, ids=("fewer steps", "resampled", "as usual"))
def test_predict_repeats_the_preparation_of_a_plan(prepare: dict | None, tmp_path: Path) -> None:
    data = write_cohort(tmp_path / "data")
    source = {"source": str(data), "layout": "msseg2", "margin_voxels": 2}
    plan = tiny_plan(data, data=source | ({} if prepare is None else {"prepare": prepare}))
    cohort = load_run_cohort(plan, tmp_path / "run", SilentWatcher())
    assert ("difference" in cohort.cases[0].channels) == (prepare is None or "subtract" in prepare["steps"])
    stored = json.loads(json.dumps(dict(cohort.preparation)))
    record = BundleRecord(network="unet3d", channels=cohort.cases[0].channels, preparation=stored, window=(8, 8, 8))
    sources, _ = sources_in(f"msseg2:{data}")
    ready = make_ready(sources[0], record)
    assert ready.case.content_sha256 == cohort.cases[0].content_sha256
    assert ready.on_own_grid(ready.case.reference).shape == ready.shape


def test_pictures_of_many_sizes_become_one(tmp_path: Path) -> None:
    plan = Plan.preset("dscpp-cvc-small").changed({"name": "x"})
    data = plan.data.model_dump() | {"synth_patients": 2, "shapes_side": 40}
    cohort = load_run_cohort(plan.changed({"data": data}), tmp_path / "run", SilentWatcher())
    assert {case.shape for case in cohort.cases} == {(64, 48)}
    assert cohort.cases[0].spacing_mm == pytest.approx((40 / 64, 40 / 48))
    assert all(case.lesion.any() for case in cohort.cases)
