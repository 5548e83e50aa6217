"""Mixed training: other cases in the training folds and nowhere else, in their share, the same for all losses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import miniature
from example_trials import RECIPE, TRIAL
from lesionloss.bench.batch_shares import draw_batch_shares
from lesionloss.bench.data_check import check_data
from lesionloss.bench.forecast import forecast
from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.sections import DataSection
from lesionloss.bench.recipes import steps_per_epoch
from lesionloss.bench.run import run
from lesionloss.bench.run_cohort import read_run_cohort
from lesionloss.cli import app
from lesionloss.core.errors import UsageError
from lesionloss.data.batches.shared_pools import turn_of
from lesionloss.data.prepared import PreparedCase
from lesionloss.report.methods import methods
from lesionloss.runs.load_run import load
from lesionloss.runs.verify import verify_run
from lesionloss.training.mixture import Mixture, read_mixture, split_mixed
from lesionloss.training.samplers import sampler_of
from make_cohort import write_cohort
from tiny_runs import tiny_plan

SYNTH = {"synth_patients": 1, "synth_spacing_mm": 4.0, "synth_profile": "demo", "share": 0.5}


def mixed_plan(folder: Path, *mix: dict[str, object], **changes: object) -> Plan:
    data = {"source": str(folder), "layout": "msseg2", "margin_voxels": 2, "mix": mix}
    return tiny_plan(folder, data=data, **changes)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("mixture")
    return write_cohort(root / "own", (2, 1, 3, 0)), write_cohort(root / "others", (4, 5))


@pytest.fixture(scope="module")
def finished(places: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    own, others = places
    training = {"epochs": 1, "batch": 2, "patch": [8, 8, 8], "precision": "float32", "validation_share": 0.5}
    sections = {
        "training": training,
        "inference": {"window": [16, 16, 16], "overlap": 0.0},
        "curves": {"every_epochs": 1},
    }
    plan = mixed_plan(own, SYNTH, {"source": f"msseg2:{others}"}, **sections)
    out = tmp_path_factory.mktemp("mixed run") / "run"
    results = run(plan, out)
    assert results.failed == ()
    return out


def test_mixed_cases_are_trained_on_and_never_tested_or_validated_on(finished: Path) -> None:
    results = load(finished)
    mixed = {"synth--001", "others--001", "others--002"}
    for trial in results.trials:
        assert mixed < set(trial.record["train"])
        assert not mixed & set(trial.record["test"])
    scores = results.scores
    for split in ("test", "train_images"):
        assert not any("--" in case for case in scores[scores["split"] == split]["case"])
    patches = scores[scores["split"] == "train_patches"]["case"]
    assert {"synth", "others"} == {case.partition("--")[0] for case in patches if "--" in case}
    assert {case.name for case in results.cohort} == {"001", "002", "003", "004"}


def test_losses_of_a_pair_see_the_same_mixture(finished: Path) -> None:
    pairs: dict[str, set[str]] = {}
    for trial in load(finished).trials:
        if trial.method == "network":
            pairs.setdefault(trial.record["pair"], set()).add(trial.record["batches_hash"])
    assert [len(hashes) for hashes in pairs.values()] == [1, 1]


def test_report_verification_and_dry_run_know_the_mixture(finished: Path) -> None:
    results = load(finished)
    text = methods(results, (), paired=True)[0]
    assert "synth: 1 case (synthetic, profile demo, seed 1), 50 % of the training patches" in text
    assert "others: 2 cases" in text
    assert "never into validation or test" in text
    (found,) = verify_run(finished)
    assert (found.cases, found.findings) == (7, ())
    (finished / "mixed" / "synth" / "cohort" / "001.npz").write_bytes(b"damaged")
    assert [finding.file for finding in verify_run(finished)[0].findings] == ["mixed/synth/cohort/001.npz"]
    model = json.loads(next(finished.glob("trials/*/model.json")).read_text())
    assert "1 case of synth-" in json.dumps(model)


def test_every_batch_has_the_shares(cases: list[PreparedCase]) -> None:
    shares = [0.5, 0.25, 0.25]
    turns = [turn_of(position, shares) for position in range(400)]
    for number, share in enumerate(shares):
        own = [turn for pool, turn in turns if pool == number]
        assert own == list(range(int(400 * share)))  # each pool counts its own patches
    for start in range(0, 400, 4):
        assert [pool for pool, _ in turns[start : start + 4]].count(0) == 2
    others = [replace(case, name=f"x--{case.name}", patient=f"x--{case.patient}") for case in cases[:2]]
    for sampler in ("weighted", "positive_negative", "grid(overlap=8)", "whole"):
        size = (32, 32, 32) if sampler == "whole" else RECIPE.patch
        recipe = replace(RECIPE, patch=size, sampler=sampler, mix=(Mixture("x", "set-1", 0.5).text(),))
        draws = sampler_of(recipe).over({case.name: case for case in (*cases, *others)})
        windows = [draws.window(("s",), step, place, 2) for step in range(1, 31) for place in (0, 1)]
        assert sum(window.case.startswith("x--") for window in windows) == 30
        plain = sampler_of(replace(recipe, mix=())).over({case.name: case for case in cases})
        assert draws.per_epoch == (None if plain.per_epoch is None else 2 * plain.per_epoch)
    training = Plan.preset("quickstart").training
    recipe = replace(RECIPE, sampler="weighted", batch=1, accumulate=1)
    for mix, steps in (("", 0), (Mixture("x", "set-1").text(), 2), (Mixture("x", "set-1", 0.5).text(), len(cases))):
        mixed = replace(recipe, mix=(mix,) if mix else ())
        assert steps_per_epoch(training, mixed, [*cases, *(others if mix else ())]) == len(cases) + steps


def test_a_plan_without_a_mixture_keeps_its_digests(cases: list[PreparedCase]) -> None:
    assert TRIAL.key == "dd0f42b56e0ee2a4"
    mixture = Mixture("x", "set-1", 0.5, 0.4)
    assert read_mixture(mixture.text()) == mixture
    mixed = replace(TRIAL, recipe=replace(RECIPE, mix=(mixture.text(),)))
    assert mixed.pair != TRIAL.pair
    others = [replace(case, name=f"x--{case.name}", patient=f"x--{case.patient}") for case in cases[:2]]
    assert split_mixed([*cases, *others], mixed.recipe.mix) == (cases, [], others)


def test_mistakes_are_one_line(places: tuple[Path, Path], tmp_path: Path) -> None:
    own, others = places
    for mix, words in (
        (({"share": 0.6}, {"name": "b", "share": 0.4}), "the shares of all mixtures must leave something for data"),
        (({}, {}), "two mixtures are named 'synth'; give each a name"),
        (({"name": "a b"},), "name must have letters, digits, points and dashes only"),
        (({"shar": 0.5},), "unknown key data.mix.0.shar; did you mean 'share'"),
        (({"share": 1.5},), "data.mix.0.share"),
    ):
        with pytest.raises(UsageError, match=words) as refused:
            tiny_plan(own).changed({"data": {"source": str(own), "mix": list(mix)}})
        assert "\n" not in str(refused.value)
    miniature.wmh2017(tmp_path / "wmh")
    for mixture, words in (
        (
            {"source": f"wmh2017:{tmp_path / 'wmh'}"},
            "data.mix wmh: its cases have the channels contrast1, contrast2",
        ),
        ({"source": "shapes"}, "data.mix shapes: its cases have the channels contrast1, contrast2, contrast3, those"),
        ({"source": str(tmp_path / "absent")}, "no such folder"),
    ):
        with pytest.raises(UsageError, match=words):
            check_data(mixed_plan(own, mixture))
    clash = write_cohort(tmp_path / "clash", (1, 1))
    (clash / "training" / "001").rename(clash / "training" / "others--001")
    with pytest.raises(UsageError, match="a case of data is named others--001; give the mixture another name"):
        run(mixed_plan(clash, {"source": f"msseg2:{others}"}), tmp_path / "run")


def test_the_dry_run_counts_it_and_prints_what_is_known_before_it_times_steps(
    places: tuple[Path, Path], tmp_path: Path
) -> None:
    plan = mixed_plan(places[0], SYNTH)
    happened: list[str] = []
    found = forecast(
        plan, None, "cpu", 1, 1, known=lambda _: happened.append("known"), timed=lambda *_: happened.append("step")
    )
    assert happened[0] == "known"
    assert happened.count("step") == 4
    assert found.mixed == ("synth: 1 synthetic patient (profile demo, seed 1), 50 % of the training patches",)
    assert "the preparation of what is mixed in" in found.left_out
    (tmp_path / "plan.toml").write_text(plan.to_toml())
    result = CliRunner().invoke(app, ["bench", str(tmp_path / "plan.toml"), "--dry-run"])
    assert result.exit_code == 0
    assert "mixed into training folds: synth: 1 synthetic patient" in " ".join(result.output.split())


def test_a_step_that_takes_long_is_estimated_from_a_small_patch(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lesionloss.bench import trial_timing

    monkeypatch.setattr(trial_timing, "MOST_SECONDS", 0.0)
    training = {"steps": 3, "batch": 4, "patch": [48, 48, 48], "precision": "float32"}
    found = forecast(tiny_plan(places[0], training=training), None, "cpu", 1, 1)
    assert found.source == "a training step on one patch of 32x32x32, scaled by voxels, timed now, by one trial alone"
    assert found.seconds is not None


def test_the_lesion_share_of_batches_is_that_of_the_windows(cases: list[PreparedCase], finished: Path) -> None:
    whole = replace(RECIPE, sampler="whole", patch=(32, 32, 32), batch=1)
    shares = draw_batch_shares(whole, cases)
    assert (shares.batches, shares.patches) == (len(cases), len(cases))
    voxels = [int(case.reference.size) for case in cases]
    lesion = [int(case.lesion.sum()) for case in cases]
    assert shares.total_share == pytest.approx(sum(lesion) / sum(voxels))
    assert shares.share["mean"] == pytest.approx(sum(a / b for a, b in zip(lesion, voxels, strict=True)) / len(cases))
    assert draw_batch_shares(replace(RECIPE, steps=30), cases, most=20).batches == 20
    known = read_run_cohort(finished)
    assert known.mixed_names == ("others--001", "others--002", "synth--001")


def test_built_in_data_are_named_by_their_source() -> None:
    assert DataSection(source="shapes").shown_dataset("dsb2018-1a2b3c4d") == "shapes-1a2b3c4d"
    assert DataSection(source="synth").shown_dataset("msseg2-1a2b3c4d") == "synth-1a2b3c4d"
    assert DataSection(source="folder").shown_dataset("msseg2-bids-1a2b3c4d") == "msseg2-bids-1a2b3c4d"
