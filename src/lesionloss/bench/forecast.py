"""What a plan will cost before it is run: time, disk and memory, from trials that are done or from a short try."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from lesionloss.bench.execute import computing_with
from lesionloss.bench.plan import Plan
from lesionloss.bench.run_cohort import ListedCohort, found_cohort
from lesionloss.bench.side_by_side import Need, cores, need_of, side_by_side
from lesionloss.bench.status import Status, read_status, seconds_of_a_trial
from lesionloss.bench.trial_list import FILE, read_agenda
from lesionloss.bench.trials import counts_epochs, recipe_of
from lesionloss.core.allocator import free_memory, keep_freed_memory
from lesionloss.core.errors import LesionLossError
from lesionloss.core.number_text import plural
from lesionloss.core.randomness import torch_generator
from lesionloss.data.cohort_index import CaseEntry
from lesionloss.data.prepared import load_channels
from lesionloss.inference import Arithmetic, Windows, predict_probabilities
from lesionloss.losses.criterion import build
from lesionloss.metrics import Case, score
from lesionloss.networks import build_network, channels_last, network_axes, network_channels, seed_dropout
from lesionloss.networks.cost import summarise
from lesionloss.training.execution import GROWTH, step_bytes
from lesionloss.training.forward import outputs_of
from lesionloss.training.trial import Recipe

STEPS = 3  # that are timed, after one that is not
CHANNELS = 3  # of two visits with one contrast: taken where nothing is prepared yet
LESION_SHARE = 0.01  # of the voxels of the noise
CHECKPOINT_COPIES = 2 * 4  # the last two; weights, their best copy, and two moments of each
WEIGHT_BYTES = 4


@dataclass(frozen=True)
class Wanted:
    """One trial of the plan and its state: done, running, failed or open."""

    loss: str
    fold: int
    seed: int
    state: str


@dataclass(frozen=True)
class Forecast:
    """`step_seconds`: of a training step, tried now (None where finished trials say more). `seconds_each`: of a trial,
    from `source`, without what `left_out` names; None where its steps follow from patients that aren't prepared yet.
    `seconds`: of all that is left, `jobs` at a time with `threads` each. Bytes on disk: those that are there, of a
    finished trial, and at most of checkpoints meanwhile (gone at the end); of memory: what a trial needs, and what is
    free."""

    trials: tuple[Wanted, ...]
    source: str
    left_out: tuple[str, ...]
    step_seconds: float | None
    seconds_each: float | None
    seconds: float | None
    jobs: int
    threads: int
    there_bytes: int
    trial_bytes: int
    checkpoint_bytes: int
    need_bytes: int
    free_bytes: int

    @property
    def left(self) -> int:
        return sum(trial.state != "done" for trial in self.trials)

    @property
    def disk_bytes(self) -> int:
        """What the trials that are left will add."""
        return self.left * self.trial_bytes


@dataclass(frozen=True)
class Pace:
    """What a trial takes, and from what that is known; see `Forecast`."""

    source: str
    left_out: tuple[str, ...]
    step_seconds: float | None
    seconds_each: float | None


def forecast(plan: Plan, out: Path | None, device: str, jobs: int | None, threads: int | None) -> Forecast:
    """Look at a plan and at what `out` holds of it; writes nothing, and takes a few training steps.

    Raises UsageError or DataError where the folder can't be read.
    """
    status = read_status(out) if out is not None and (out / FILE).is_file() else None
    cohort = _cohort(out)
    recipe = _recipe(plan, device, cohort)
    channels = _channels(plan, cohort)
    needed = step_bytes(recipe, plan.network.text, channels)
    need = need_of(cohort, read_agenda(out)) if status and cohort and out else Need(needed, 0)
    trials = _trials(plan, status)
    left = sum(trial.state != "done" for trial in trials)
    jobs = jobs or (side_by_side(need, max(1, left), threads or 1) if device == "cpu" else 1)
    threads = threads or (status.threads if status else max(1, cores() // jobs))
    with computing_with(threads):
        pace = _pace(plan, recipe, status, cohort, channels, device)
    weights = summarise(plan.network.text, _input(plan, recipe, 1, channels)).parameters * WEIGHT_BYTES
    return Forecast(
        trials=trials,
        source=pace.source,
        left_out=pace.left_out,
        step_seconds=pace.step_seconds,
        seconds_each=pace.seconds_each,
        seconds=None if pace.seconds_each is None else pace.seconds_each * -(-left // jobs),
        jobs=jobs,
        threads=threads,
        there_bytes=_size(out) if out is not None else 0,
        trial_bytes=_trial_bytes(status, weights, cohort, plan.folds),
        checkpoint_bytes=CHECKPOINT_COPIES * weights * jobs,
        need_bytes=need.total,
        free_bytes=free_memory(),
    )


def _pace(
    plan: Plan, recipe: Recipe, status: Status | None, cohort: ListedCohort | None, channels: int, device: str
) -> Pace:
    known = seconds_of_a_trial(status.of("done")) if status else None
    if known is not None and status is not None:
        return Pace(f"the mean of {plural(len(_networks(status)), 'finished trial')}", (), None, known)
    step = time_of_a_step(recipe, plan, channels, device)
    source = f"{STEPS} training steps tried now, by one trial alone"
    left_out = [] if cohort else ["the scoring of whole images (nothing is prepared yet)"]
    left_out += ["curves"] if plan.curves.every_epochs else []
    left_out += ["pretraining"] if plan.training.pretrain else []
    if counts_epochs(plan) and cohort is None and plan.training.epochs:
        return Pace(source, tuple(left_out), step, None)
    scoring = time_of_scoring(plan, recipe, cohort, device) if cohort else 0.0
    return Pace(source, tuple(left_out), step, step * recipe.steps * recipe.accumulate + scoring)


def _recipe(plan: Plan, device: str, cohort: ListedCohort | None) -> Recipe:
    """That of a training on all but a fold; where nothing is prepared, an epoch is taken for one step."""
    if not counts_epochs(plan):
        return recipe_of(plan, device)
    if cohort is None:
        known = plan.training.model_dump() | {"epochs": 0, "steps": max(1, plan.training.epochs), "check_every": 1}
        return recipe_of(plan.changed({"training": known}), device)
    learning = len(cohort.cases) - len(cohort.cases) // plan.folds
    return recipe_of(plan, device, cohort.named([case.name for case in cohort.cases][: max(1, learning)]))


def _input(plan: Plan, recipe: Recipe, images: int, channels: int) -> tuple[int, ...]:
    return (images, channels, *recipe.patch[: network_axes(plan.network.text)])


def time_of_a_step(recipe: Recipe, plan: Plan, channels: int, device: str) -> float:
    """Seconds of a training step on noise: the network's part, without the making of the batch."""
    if device == "cpu" and GROWTH * step_bytes(recipe, plan.network.text, channels) <= free_memory():
        keep_freed_memory()
    network = channels_last(build_network(plan.network.text, torch_generator("forecast"))).to(device).train()
    criterion, optimiser = build(plan.losses[0]), torch.optim.Adam(network.parameters())
    shape = _input(plan, recipe, recipe.batch, channels)
    images = torch.randn(shape, generator=torch_generator("forecast images")).to(device)
    drawn = torch.rand((recipe.batch, *shape[2:]), generator=torch_generator("forecast labels"))
    labels = (drawn < LESION_SHARE).long().to(device)
    begun = 0.0
    for step in range(STEPS + 1):
        if step == 1:
            begun = time.perf_counter()
        seed_dropout(network, torch_generator("forecast", step))
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(criterion(outputs_of(network, images, recipe.precision).logits, labels))
        optimiser.step()
        if device != "cpu":
            torch.cuda.synchronize()
    return (time.perf_counter() - begun) / STEPS


def time_of_scoring(plan: Plan, recipe: Recipe, cohort: ListedCohort, device: str) -> float:
    """Seconds that the test images of a fold take, from the first case: its map by a network that has learned nothing,
    and the metrics of its reference against itself."""
    entry = cohort.cases[0]
    (case,) = cohort.named([entry.name])
    network = channels_last(build_network(plan.network.text, torch_generator("forecast"))).to(device).eval()
    arithmetic = Arithmetic(recipe.precision, stitched=torch.float32, together=True)
    begun = time.perf_counter()
    predict_probabilities(
        network, case, Windows(recipe.window, overlap=recipe.overlap), arithmetic=arithmetic, device=device
    )
    score(Case(case.lesion, case.lesion, spacing_mm=case.spacing_mm), plan.metrics)
    seconds = time.perf_counter() - begun
    return seconds * sum(map(_voxels, cohort.cases)) / _voxels(entry) / plan.folds


def _voxels(entry: CaseEntry) -> int:
    product = 1
    for side in entry.shape:
        product *= side
    return product


def _cohort(out: Path | None) -> ListedCohort | None:
    try:
        return found_cohort(out) if out is not None else None
    except LesionLossError:
        return None


def _channels(plan: Plan, cohort: ListedCohort | None) -> int:
    """Those of the cases; where nothing is prepared, those that the network says, else those of two visits."""
    if cohort is not None:
        return len(load_channels(cohort.folder / f"{cohort.cases[0].name}.npz"))
    return network_channels(plan.network.text)[0] or CHANNELS


def _trials(plan: Plan, status: Status | None) -> tuple[Wanted, ...]:
    if status is not None:
        networks = [trial for trial in status.trials if trial.method == "network"]
        return tuple(Wanted(trial.loss, trial.fold, trial.seed, trial.state) for trial in networks)
    return tuple(
        Wanted(loss, fold, seed, "open") for seed in plan.seeds for fold in range(plan.folds) for loss in plan.losses
    )


def _networks(status: Status) -> list[str]:
    return [trial.key for trial in status.of("done") if trial.method == "network"]


def _trial_bytes(status: Status | None, weights: int, cohort: ListedCohort | None, folds: int) -> int:
    """Of finished trials the mean; else the weights and, at most, a byte for every voxel of a fold's test cases."""
    done = _networks(status) if status else []
    if status and done:
        return sum(_size(status.folder / "trials" / key) for key in done) // len(done)
    maps = sum(map(_voxels, cohort.cases)) // folds if cohort else 0
    return weights + maps


def _size(folder: Path) -> int:
    """Bytes of all files under a folder, as long as they stay while they are counted."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total
