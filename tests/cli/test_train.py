"""`lesionloss train`: one trial in a folder of its own, equal to the trial of a bench, killed and continued."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lesionloss.bench.engines.in_process import InProcessEngine
from lesionloss.bench.plan import Plan
from lesionloss.bench.run import run
from lesionloss.bench.watcher import SilentWatcher
from lesionloss.cli import app
from lesionloss.cli.plan_options import chosen_plan, data_keys, parse_setting
from lesionloss.cli.progress import progress_bar
from lesionloss.cli.train import one_trial, parse_sides
from lesionloss.core.errors import DataError, LesionLossError, UsageError
from lesionloss.data.cohort import open_cohort
from lesionloss.data.cohort_index import load_index
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import PreparationRecipe, ResampleSettings
from lesionloss.networks.bundle import load_bundle
from lesionloss.runs.verify import verify_run
from lesionloss.training.loop import TrainingFailed
from lesionloss.training.state import Step
from lesionloss.training.step_log import HistoryFile
from lesionloss.training.trackers import TrackedRun, tracked
from tiny_runs import tiny_plan


@pytest.fixture(scope="module")
def plan(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "tiny.toml"
    path.write_text(tiny_plan(data).to_toml())
    return path


def lesionloss(*words: object) -> str:
    result = CliRunner().invoke(app, ["train", *map(str, words)])
    if isinstance(result.exception, LesionLossError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_trial_of_a_plan_is_the_trial_of_the_bench(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "one"
    said = lesionloss(plan, "--loss", "hytver", "--fold", 1, "--out", out, "--device", "cpu")
    assert "tested on 2 cases" in said
    run(
        Plan.load(plan).changed({"losses": ("hytver",), "baseline_loss": "hytver"}),
        tmp_path / "bench",
        track="tensorboard",
    )
    records = {path.parent.name: path.read_text() for path in (tmp_path / "bench" / "trials").glob("*/trial.toml")}
    key = next(name for name, text in records.items() if text == (out / "trial.toml").read_text())
    for name in ("model.safetensors", "scores.csv"):
        assert (out / name).read_bytes() == (tmp_path / "bench" / "trials" / key / name).read_bytes()
    assert len((out / "history.csv").read_text().splitlines()) == 1 + 3
    assert list((out / "tensorboard").glob("events.*"))
    shown = {path.parent.name for path in (tmp_path / "bench" / "tensorboard").glob("*/events.*")}
    assert {name.rpartition("_")[0] for name in shown} == {f"hytver_fold_{fold}_seed_1" for fold in range(2)}
    assert not (out / "checkpoint").exists()

    words = [plan, "--loss", "hytver", "--fold", 1, "--out", out, "--resume"]
    assert "finished already" in lesionloss(*words)
    before = (out / "manifest.json").read_bytes()
    for other, named in (
        (["--loss", "dice"], r"losses is \['hytver'\], now \['dice'\]"),
        (["--steps", 9], "training.steps is 3, now 9"),
        (["--fold", 0], "fold is 1, now 0"),
        (["--fold", "all"], "fold is 1, now 'all'"),
        (["--data", out], "data.source is"),
        (["--seed", 8], r"seeds is \[1\], now \[8\]"),
    ):
        with pytest.raises(UsageError, match=rf"a finished training run with other settings \({named}") as caught:
            lesionloss(*words, *other)
        assert "\n" not in str(caught.value)
    assert (out / "manifest.json").read_bytes() == before
    (verification,) = verify_run(out)
    assert (verification.trials, verification.cases, verification.findings) == (1, 4, ())
    with pytest.raises(UsageError, match="holds a finished training run; --force trains it anew"):
        lesionloss(plan, "--loss", "hytver", "--fold", 1, "--out", out)


def test_options_alone_train_on_all_patients(data: Path, tmp_path: Path) -> None:
    words = ("--data", data, "--network", "unet3d(filters=2, levels=2)", "--patch", "8x8x8", "--steps", 2)
    said = lesionloss("--loss", "dice", *words, "--set", "data.margin_voxels=2", "--out", tmp_path / "all")
    assert "trained on 4 cases" in said
    assert "fold = -1" in (tmp_path / "all" / "trial.toml").read_text()
    assert len((tmp_path / "all" / "scores.csv").read_text().splitlines()) == 1


def test_a_cohort_made_by_prepare_is_trained_on_as_it_is(data: Path, tmp_path: Path) -> None:
    recipe = PreparationRecipe(
        resample=ResampleSettings(spacing_mm=(2.5, 2.5, 2.5)), steps=("brain", "resample", "crop", "normalise")
    )
    made = prepare_cohort(open_cohort(f"msseg2:{data}"), tmp_path / "prepared", recipe).index
    network = "unet3d(inputs=2, filters=2, levels=2)"
    words = ("--loss", "dice", "--network", network, "--patch", "8x8x8", "--steps", 1, "--data", tmp_path / "prepared")
    rights = ("--licence", "CC-BY-4.0", "--data-note", "tiny patients")
    lesionloss(*words, *rights, "--set", 'data.patients=["001", "003"]', "--out", tmp_path / "model")
    bundle = load_bundle(tmp_path / "model")
    assert bundle.record.preparation == recipe.settings()
    assert (bundle.record.licence, bundle.record.data_note) == ("CC-BY-4.0", "tiny patients")
    assert bundle.record.training["cases"] == ["001", "003"]
    kept = {entry.name: entry.content_sha256 for entry in load_index(tmp_path / "model" / "cohort").cases}
    assert kept == {entry.name: entry.content_sha256 for entry in made.cases if entry.name in ("001", "003")}
    with pytest.raises(UsageError, match="no patient '7' in"):
        lesionloss(*words, "--set", 'data.patients=["7"]', "--out", tmp_path / "other")
    (tmp_path / "prepared" / "001.npz").unlink()
    with pytest.raises(DataError, match=r"001\.npz is gone"):
        lesionloss(*words, "--out", tmp_path / "gone")


def test_data_may_name_its_layout(tmp_path: Path) -> None:
    assert data_keys(f"lit:{tmp_path}") == {"source": str(tmp_path), "layout": "lit"}
    assert data_keys(str(tmp_path)) == {"source": str(tmp_path)}
    assert chosen_plan("hytver", f"lit:{tmp_path}", []).data.layout == "lit"
    assert chosen_plan("hytver", str(tmp_path), []).data.layout == "msseg2"
    assert chosen_plan("hytver", None, [], ["training.steps=7", "seeds=[4]"]).training.steps == 7
    with pytest.raises(UsageError, match="no dataset layout is named 'lot'"):
        data_keys("lot:somewhere")


def test_a_refused_training_run_leaves_the_folder_as_it_was(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "empty").mkdir()
    for _ in range(2):  # the second call meets nothing of the first
        with pytest.raises(LesionLossError, match="no complete case"):
            lesionloss(plan, "--loss", "dice", "--data", tmp_path / "empty", "--out", out)
        assert not out.exists()
    own = tmp_path / "own"
    own.mkdir()
    (own / "plan.toml").write_bytes(plan.read_bytes())
    with pytest.raises(UsageError):
        lesionloss(plan, "--loss", "dice", "--data", tmp_path / "empty", "--out", own)
    assert (own / "plan.toml").read_bytes() == plan.read_bytes()


def test_a_refused_training_run_keeps_prepared_patients(plan: Path, tmp_path: Path) -> None:
    words = [plan, "--loss", "dice", "--out", tmp_path / "out"]
    with pytest.raises(UsageError, match="--fold"):
        lesionloss(*words, "--fold", 9)
    assert load_index(tmp_path / "out" / "cohort").cases
    lesionloss(*words, "--fold", 1)  # nothing to resume, nothing in the way
    assert (tmp_path / "out" / "model.json").exists()


def test_resume_continues_a_killed_command(plan: Path, tmp_path: Path) -> None:
    words = [str(plan), "--loss", "dice", "--set", "training.steps=60", "--checkpoint-seconds", "0", "--device", "cpu"]
    out = tmp_path / "killed"
    script = "from lesionloss.cli import main; main()"
    process = subprocess.Popen([sys.executable, "-c", script, "train", *words, "--out", str(out)])
    deadline = time.monotonic() + 120
    while len(list((out / "checkpoint").glob("step-*"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "model.json").exists()
    with pytest.raises(UsageError, match="holds an unfinished training run; --resume continues it"):
        lesionloss(*words, "--out", out)
    with pytest.raises(UsageError, match="another plan"):
        lesionloss(*words, "--seed", 7, "--out", out, "--resume")
    with pytest.raises(UsageError, match="belongs to another training run"):
        lesionloss(*words, "--fold", 1, "--out", out, "--resume")
    assert len(list((out / "checkpoint").glob("step-*"))) == 2  # a wrong option changes nothing
    lesionloss(*words, "--out", out, "--resume")
    lesionloss(*words, "--out", tmp_path / "whole")
    for name in ("model.safetensors", "scores.csv", "trial.toml"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert without_seconds(out) == without_seconds(tmp_path / "whole")


def without_seconds(folder: Path) -> list[list[str]]:
    rows = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
    return [row[:3] + row[4:] for row in rows]


def test_a_killed_bench_continues_inside_its_trial(data: Path, tmp_path: Path) -> None:
    class StopsInTheSecondTrial(SilentWatcher):
        steps = 0

        def step(self, trial: object, step: object) -> None:
            self.steps += 1
            if self.steps == 5:
                raise KeyboardInterrupt

    class Counts(SilentWatcher):
        taken: list[int]

        def step(self, trial: object, step: Step) -> None:
            self.taken.append(step.step)

    watcher = Counts()
    watcher.taken = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("lesionloss.training.checkpoint.Checkpoints.due", lambda self, step: True)
        run(tiny_plan(data), tmp_path / "run", watcher=StopsInTheSecondTrial(), engine=InProcessEngine(together=1))
    left = list((tmp_path / "run" / "checkpoints").glob("*/step-*"))
    assert [path.name for path in left] == ["step-00000001.safetensors"]
    run(tiny_plan(data), tmp_path / "run", watcher=watcher, engine=InProcessEngine(together=1))
    assert watcher.taken == [1, 2, 3] * 3  # the step before the stop is logged again, the finished trial is not
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(("error", "kept"), [(TrainingFailed("nan"), False), (OSError(28, "no space"), True)])
def test_a_checkpoint_goes_only_when_the_loss_failed(
    error: Exception, kept: bool, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails(SilentWatcher):
        def step(self, trial: object, step: Step) -> None:
            if step.step == 2:
                raise error

    monkeypatch.setattr("lesionloss.training.checkpoint.Checkpoints.due", lambda self, step: True)
    results = run(tiny_plan(data, losses=("dice",)), tmp_path / "run", watcher=Fails())
    assert len(results.failed) == 2
    assert bool(list((tmp_path / "run").glob("checkpoints/*/step-*"))) == kept
    for folder in (tmp_path / "run" / "trials").glob("*.failed"):
        assert len((folder / "history.csv").read_text().splitlines()) == 1 + 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--loss", "dice"], "train needs a folder for its results: --out FOLDER"),
        (["--out", "x"], "train needs a loss, such as --loss hytver, or a plan"),
        (["quickstart", "--out", "x"], r"plan quickstart has 4 losses; choose one: --loss hytver\|dice"),
        (["--loss", "dice", "--patch", "8", "--out", "x"], "--patch must be two or three numbers"),
        (["--loss", "dice", "--fold", "first", "--out", "x"], "--fold must be all or a number from 0"),
        (["--loss", "dice", "--set", "training.steps", "--out", "x"], "--set needs KEY=VALUE"),
        (["--loss", "dice", "--set", "trainin.steps=2", "--out", "x"], "a plan has no part 'trainin'"),
        (["--loss", "dice", "--set", "training.batch.x=2", "--out", "x"], "training has no part 'batch'; parts: none"),
        (["--loss", "dice", "--set", "training.step=2", "--out", "x"], "did you mean 'steps'"),
        (["--loss", "dice", "--set", "training.patience=2", "--out", "x"], "give validation_share too"),
        (["--loss", "dice", "--set", "training.optimiser='adm'", "--out", "x"], "did you mean 'adam'"),
        (["--loss", "dice", "--precision", "fp16", "--device", "cpu", "--out", "x"], "needs data"),
    ],
)
def test_wrong_options_say_what_to_do(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message) as caught:
        lesionloss(*words)
    assert "\n" not in str(caught.value)


def test_a_fold_that_is_not_there_and_a_folder_of_others(plan: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--fold must be all or a number from 0 to 1, got 2"):
        lesionloss(plan, "--loss", "dice", "--fold", 2, "--out", tmp_path / "a")
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not a run of lesionloss"):
        lesionloss(plan, "--loss", "dice", "--out", tmp_path, "--force")
    assert (tmp_path / "letter.txt").read_text() == "mine"


def test_options_change_the_plan() -> None:
    given = dict(
        [parse_setting("training.optimiser='sgd'"), ("training.steps", 7), ("training.patch", parse_sides("16x16x8"))]
    )
    chosen = one_trial("quickstart", "dice", 9, given)
    assert (chosen.losses, chosen.baseline_loss, chosen.seeds) == (("dice",), "dice", (9,))
    assert (chosen.training.optimiser, chosen.training.steps, chosen.training.patch) == ("sgd", 7, (16, 16, 8))
    assert chosen.training.learning_rate == Plan.preset("quickstart").training.learning_rate


def test_logs_hold_every_step(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    steps = [Step(number, 1 / number, 0.1, 0.5 * number, 0.0, float("nan")) for number in (1, 2, 3)]
    run = TrackedRun(tmp_path, "plan", "dice, fold 0, seed 1", "0" * 16, {}, alone=True)
    with HistoryFile(tmp_path) as history, tracked("tensorboard", run, print) as events:
        for number, step in enumerate(steps, 1):
            history(step)
            events(step)
            assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + number  # nothing waits in memory
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [event.value for event in found.Scalars("loss")] == pytest.approx([1, 1 / 2, 1 / 3])
    assert "zero_gradient_lesion" not in found.Tags()["scalars"]


def test_bars_keep_their_times_on_a_narrow_terminal() -> None:
    for width in (80, 110):
        shown = io.StringIO()
        console = Console(file=shown, width=width, force_terminal=True, color_system=None)
        bar = progress_bar(console)
        title, detail = "0.5*dice + 0.5*focal(gamma=2), fold 0, seed 1", "loss 0.1234  12.1 steps/s"
        bar.add_task(title, total=30_000, completed=12_000, detail=detail)
        console.print(bar.get_renderable())
        (line,) = shown.getvalue().splitlines()
        assert len(line) <= width
        assert line.count("━") + line.count("╸") >= 4
        assert "12000/30000 loss 0.1234" in line
        assert line.rstrip().endswith("-:--:--")
