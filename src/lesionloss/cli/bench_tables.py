"""Tables of the status of a run and of the forecast of a plan."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from lesionloss.cli.progress import clock
from lesionloss.core.number_text import listed, plural

if TYPE_CHECKING:
    from lesionloss.bench.batch_shares import BatchShares
    from lesionloss.bench.bookkeeping.status import Status, TrialStatus
    from lesionloss.bench.forecast_record import Forecast

MINUTE, HOUR = 60, 3600
MOST_ROWS = 40  # of a list on the screen; --json has all


def print_status(status: "Status", console: Console) -> None:
    """Print counts, running trials and their processes, failures with reasons, and the expected end."""
    counts = status.counts
    complete, pairs = status.pairs
    words = ", ".join(f"{count} {state}" for state, count in counts.items() if count or state == "done")
    console.print(f"{status.folder}: {words}; {complete} of {pairs} pairs complete", highlight=False, markup=False)
    running = status.of("running")
    if running:
        table = Table("running", "step", "by", "since", "ends about")
        for trial in running:
            who, since = f"{trial.host}:{trial.pid}", clock(trial.since, status.now)
            table.add_row(trial.title, _step(trial), who, since, _end(trial, status))
        console.print(table)
    if status.of("failed"):
        table = Table("failed", "cause", "reason")
        for trial in status.of("failed"):
            table.add_row(trial.title, trial.cause, trial.reason)
        console.print(table)
    if counts["open"] and not running:
        console.print("no process is running; the same `lesionloss bench` continues the run", highlight=False)
    elif status.seconds_left is not None:
        left = duration(status.seconds_left)
        console.print(f"expected end {clock(status.now + status.seconds_left, status.now)}, in {left}", highlight=False)


def print_forecast(forecast: "Forecast", console: Console) -> None:
    """Print the trials, and the disk, memory and time that they need."""
    print_known(forecast, console)
    print_time(forecast, console)


def print_time(forecast: "Forecast", console: Console) -> None:
    """Print the time that the trials need."""
    console.print(f"time: {_time(forecast)}", highlight=False, markup=False)


def print_known(forecast: "Forecast", console: Console) -> None:
    """Print what is known without timing anything: trials, what is mixed in, lesion share of batches, disk, memory."""
    table = Table("loss", "fold", "seed", "state")
    for trial in forecast.trials[:MOST_ROWS]:
        table.add_row(trial.loss, str(trial.fold), str(trial.seed), trial.state)
    console.print(table)
    if len(forecast.trials) > MOST_ROWS:
        console.print(f"... and {len(forecast.trials) - MOST_ROWS} more (all with --json)", highlight=False)
    lines = [
        f"{len(forecast.trials)} trials, {forecast.left} to do",
        *(f"mixed into training folds: {words}" for words in forecast.mixed),
        *([f"lesion share of training batches: {batch_words(forecast.batches)}"] if forecast.batches else []),
        f"disk: {size(forecast.disk_bytes)} to come (at most {size(forecast.trial_bytes)} a trial), "
        f"{size(forecast.checkpoint_bytes)} of checkpoints meanwhile; {size(forecast.there_bytes)} used now",
        f"memory: about {size(forecast.need_bytes)} a trial, {size(forecast.free_bytes)} free",
    ]
    for line in lines:
        console.print(line, highlight=False, markup=False)


def batch_words(batches: "BatchShares") -> str:
    """Return the lesion share of batches as papers print it: mean ± standard deviation [all together]."""
    mean, sd = (f"{100 * batches.share[name]:.2f}" for name in ("mean", "sd"))
    of = f"{batches.batches} batches of {batches.patches // batches.batches}"
    return f"{mean} ± {sd} [{100 * batches.total_share:.2f}] % (mean ± SD [all together] of {of})"


def _time(forecast: "Forecast") -> str:
    without = f"; without {listed(forecast.left_out)}" if forecast.left_out else ""
    threads = plural(forecast.threads, "thread")
    if forecast.seconds is None or forecast.seconds_each is None:
        step = forecast.step_seconds or 0.0
        return (
            f"a training step takes {step:.2g} s with {threads} (from {forecast.source}); their number depends on "
            f"the patients, which are not prepared yet{without}"
        )
    return (
        f"{duration(forecast.seconds)} with {plural(forecast.jobs, 'process')} of {threads}{_on_gpus(forecast)}, "
        f"{plural(forecast.together, 'loss')} side by side in each; one trial takes "
        f"{duration(forecast.seconds_each)} (from {forecast.source}{without})"
    )


def _on_gpus(forecast: "Forecast") -> str:
    if not forecast.gpus:
        return ""
    return f" on {plural(forecast.gpus, 'GPU')} ({-(-forecast.jobs // forecast.gpus)} on each)"


def forecast_json(forecast: "Forecast") -> str:
    """Return the forecast as JSON."""
    return json.dumps(asdict(forecast) | {"left": forecast.left, "disk_bytes": forecast.disk_bytes}, indent=1)


def one_or_named(documents: Mapping[str, str]) -> str:
    """The JSON of one run as it is; of several, one document with their names."""
    if len(documents) == 1:
        return next(iter(documents.values()))
    return json.dumps({name: json.loads(text) for name, text in documents.items()}, indent=1)


def _step(trial: "TrialStatus") -> str:
    return f"{trial.step} of {trial.steps}" if trial.steps else ""


def _end(trial: "TrialStatus", status: "Status") -> str:
    left = status.seconds_left_of(trial)
    return "" if left is None else clock(status.now + left, status.now)


def duration(seconds: float) -> str:
    """Return a duration in words: `40 s`, `12 min`, `3 h 20 min`."""
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{seconds / MINUTE:.0f} min"
    minutes = round(seconds / MINUTE)
    return f"{minutes // 60} h {minutes % 60} min"


def size(count: int) -> str:
    """Return a number of bytes in words: `340 kB`, `1.2 GB`."""
    for unit, amount in (("GB", 1e9), ("MB", 1e6)):
        if count >= amount:
            return f"{count / amount:.1f} {unit}" if count < 10 * amount else f"{count / amount:.0f} {unit}"
    return f"{count / 1e3:.0f} kB"
