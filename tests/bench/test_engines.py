"""Engines with real processes that are killed, run out of memory or share a folder: the results are the same bits."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor

from engine_runs import (
    FAULTS,
    assert_same,
    assert_tidy,
    content,
    folders,
    plan_of,
)
from lesionloss import UsageError, Voxels, loss
from lesionloss.bench.bookkeeping.status import read_status
from lesionloss.bench.engines.local import LocalEngine
from lesionloss.bench.run import run
from lesionloss.losses import registry
from lesionloss.runs.load_run import load
from tiny_runs import tiny_plan


def in_processes(data: Path, out: Path, *tasks: str) -> None:
    script = Path(__file__).parents[1] / "support" / "killed_runs.py"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, str(script), str(data), str(out), *tasks], check=True, env=environment)


@pytest.fixture(scope="module")
def few(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("few")
    in_processes(data, out, "in_process=2", "local=2", "together", "interrupt", "faults", "beside")
    return out


def test_the_local_engine_gives_the_bits_of_one_process(few: Path) -> None:
    assert len(folders(few / "whole-in_process")) == 6
    assert_same(few / "whole-local", few / "whole-in_process")
    assert_tidy(few / "whole-local")


def check_kills(out: Path, counts: dict[str, int]) -> None:
    killed = within = 0
    for engine, count in counts.items():
        for number in range(count):
            record = json.loads((out / f"{engine}-{number}.json").read_text())
            assert record["second"] == 0
            killed += record["first"] == -9
            within += record["checkpoints"] > 0
            assert_same(out / f"{engine}-{number}", out / "whole-in_process")
            assert_tidy(out / f"{engine}-{number}")
    print(f"{killed} of {sum(counts.values())} killed before their end, {within} inside a training run")
    assert killed > 0


def test_a_run_that_is_killed_at_any_moment_ends_with_the_same_bits(few: Path) -> None:
    check_kills(few, {"in_process": 2, "local": 2})


@pytest.mark.slow
def test_twenty_runs_killed_at_random_moments_end_with_the_same_bits(data: Path, tmp_path: Path) -> None:
    in_processes(data, tmp_path, "in_process=20", "local=20")
    check_kills(tmp_path, {"in_process": 20, "local": 20})


def test_two_processes_on_one_folder_share_the_work(few: Path) -> None:
    assert json.loads((few / "together.json").read_text()) == [0, 0]
    taken = Counter(line for name in ("first", "second") for line in (few / f"{name}.txt").read_text().splitlines())
    assert set(taken.values()) == {1}  # no step of any trial was taken twice
    assert len(taken) == 4 * 6
    assert all((few / f"{name}.txt").stat().st_size for name in ("first", "second"))
    assert_same(few / "together", few / "whole-in_process")
    assert_tidy(few / "together")


def test_of_ten_trials_those_that_go_wrong_have_a_status_and_the_others_finish(few: Path) -> None:
    record = json.loads((few / "faults-once.json").read_text())
    assert record["code"] == 0
    assert len(record["done"]) == 10 - len(FAULTS) - 1 + 2  # one was stopped from outside, and two need no network
    failed = [json.loads(text) for text in record["failed"].values()]
    assert Counter(each["cause"] for each in failed) == Counter(cause for cause, _ in FAULTS.values())
    for cause, reason in FAULTS.values():
        assert any(each["cause"] == cause and reason in each["reason"] for each in failed)
    again = json.loads((few / "faults-again.json").read_text())
    assert (again["code"], again["failed"], len(again["done"])) == (0, {}, 12)  # tried again, and nothing is in the way
    assert_tidy(few / "faults")


def test_a_loss_that_brings_down_its_process_leaves_the_other_losses_of_its_pair(few: Path) -> None:
    """After the kill each trial of the pair went on alone; only the loss that became NaN has failed."""
    record = json.loads((few / "beside-once.json").read_text())
    assert record["code"] == 0
    assert [json.loads(text)["cause"] for text in record["failed"].values()] == ["not finite"]
    assert len(record["done"]) == 2 * 4 - 1 + 2
    again = json.loads((few / "beside-again.json").read_text())
    assert (again["code"], again["failed"], len(again["done"])) == (0, {}, 10)
    for folder in folders(few / "whole-in_process"):
        assert content(few / "beside" / "trials" / folder.name) == content(folder)
    assert_tidy(few / "beside")


def test_ctrl_c_leaves_nothing_behind_and_says_how_to_continue(few: Path) -> None:
    record = json.loads((few / "interrupt.json").read_text())
    assert record == {"first": 130, "left": {"locks": 0, "processes": 0}, "second": 0}
    said = (few / "said.txt").read_text()
    assert re.search(
        r"interrupted; \d of 6 trials are finished, others continue from a checkpoint; give the same", said
    )
    assert_tidy(few / "interrupted")


@pytest.fixture
def of_this_process() -> Iterator[str]:
    @loss("only_here", source="a test")
    def only_here(v: Voxels) -> Tensor:
        """Only here: other processes never see it."""
        return 1 - v.p.mean()

    yield "only_here"
    registry.LOSSES.remove("only_here")


def test_a_loss_that_other_processes_do_not_see_is_refused(data: Path, tmp_path: Path, of_this_process: str) -> None:
    with pytest.raises(UsageError, match=r"'only_here' was defined in .*test_engines.*--with FILE\.py"):
        run(tiny_plan(data, ("dice", of_this_process)), tmp_path / "run", engine=LocalEngine(jobs=1))
    assert not (tmp_path / "run").exists()


def test_threads_are_fixed_when_a_run_starts(few: Path, data: Path) -> None:
    assert {load(few / "whole-local").machine(folder.name)["threads"] for folder in folders(few / "whole-local")} == {1}
    with pytest.raises(UsageError, match="was started with 1 thread"):
        run(plan_of(data), few / "whole-local", threads=2)
    assert read_status(few / "whole-local").threads == 1
