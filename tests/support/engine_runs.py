"""Plans for the tests of engines, and what two folders of one run must have in common."""

import time
from pathlib import Path

from lesionloss.bench.plan import Plan
from tiny_runs import tiny_plan

FAULTS = {
    "killed_once": ("killed", "killed by signal 9 (SIGKILL): probably out of memory"),
    "starved_once": ("out of memory", "allocate memory"),
    "full_once": ("disk full", "File too large"),
    "undefined_once": ("not finite", "is nan at step 1"),
}


SAME_BYTES = ("scores.csv", "model.safetensors", "model.json", "trial.toml")


STOPPED = "stopped_once"


def plan_of(data: Path) -> Plan:
    training = {"steps": 6, "batch": 2, "patch": [8, 8, 8], "jitter": 2, "precision": "float32"}
    return tiny_plan(data, training=training)


def slow_plan(data: Path) -> Plan:
    """Of 40 steps, which take 2 seconds with one of the losses."""
    training = {"steps": 40, "batch": 2, "patch": [8, 8, 8], "jitter": 2, "precision": "float32"}
    return tiny_plan(data, ("slow", "dice"), training=training)


def long_plan(data: Path) -> Plan:
    training = {"steps": 60, "batch": 2, "patch": [16, 16, 16], "jitter": 2, "precision": "float32"}
    return tiny_plan(data, training=training)


def faulty_plan(data: Path) -> Plan:
    return tiny_plan(data, (*FAULTS, STOPPED))


def fault_beside_others(data: Path) -> Plan:
    """`plan_of` with one loss that brings down the process of all, and one that fails alone."""
    losses = ("dice", "hytver", "killed_once", "undefined_once")
    return plan_of(data).changed({"losses": losses})


def folders(run_folder: Path) -> list[Path]:
    return sorted(path for path in (run_folder / "trials").iterdir() if path.suffix == "")


def content(folder: Path) -> dict[str, object]:
    """Everything in a trial's folder that must not depend on how it came about."""
    found: dict[str, object] = {name: (folder / name).read_bytes() for name in SAME_BYTES if (folder / name).is_file()}
    found |= {path.name: path.read_bytes() for path in (folder / "predictions").iterdir()}
    if (folder / "history.csv").is_file():
        rows = [line.split(",") for line in (folder / "history.csv").read_text().splitlines()]
        found["history"] = [row[:3] + row[4:] for row in rows]
    return found


def assert_same(one: Path, other: Path) -> None:
    assert [folder.name for folder in folders(one)] == [folder.name for folder in folders(other)]
    for ours, theirs in zip(folders(one), folders(other), strict=True):
        assert content(ours) == content(theirs)


def assert_tidy(folder: Path) -> None:
    """Nothing is left that only a running trial needs; the last one's process may be about to remove it."""
    deadline = time.monotonic() + 20
    while list((folder / "locks").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not list((folder / "locks").iterdir())
    assert not (folder / "checkpoints").exists()
    assert not [path for path in (folder / "trials").iterdir() if path.suffix]
