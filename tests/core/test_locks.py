"""One process of many gets a lock, keeps it while it lives, and loses it when it is gone."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lesionloss.core import locks
from lesionloss.core.files import create_text
from lesionloss.core.locks import (
    STALE_SECONDS,
    Lock,
    acquire_lock,
    new_holder,
    read_lock,
    remove_stale_lock,
    wait_until_free,
)
from lesionloss.core.process_identity import process_started
from lock_files import a_dead_process, write


def in_children(count: int, work: Callable[[], bool]) -> int:
    """How many of forked children answer yes; they begin together, and live until all have answered."""
    begin, started = os.pipe()
    answers, answer = os.pipe()
    end, ended = os.pipe()
    children = []
    for _ in range(count):
        child = os.fork()
        if child == 0:
            try:
                for descriptor in (started, ended):
                    os.close(descriptor)
                os.read(begin, 1)
                os.write(answer, b"1" if work() else b"0")
                os.read(end, 1)
            finally:
                os._exit(0)
        children.append(child)
    os.close(started)
    said = b""
    while len(said) < count:
        said += os.read(answers, count)
    os.close(ended)
    for child in children:
        os.waitpid(child, 0)
    for descriptor in (begin, answers, answer, end):
        os.close(descriptor)
    return said.count(b"1")


def test_a_lock_belongs_to_one_process_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "key"
    first = acquire_lock(path)
    assert first is not None
    found = read_lock(path)
    assert found is not None
    assert found.holder.pid == os.getpid()
    assert found.is_alive(time.time())
    assert acquire_lock(path) is None
    assert in_children(3, lambda: acquire_lock(path) is not None) == 0
    with first:
        assert first.is_ours()
    assert not path.exists()
    assert acquire_lock(path) is not None
    assert [each.name for each in path.parent.iterdir()] == ["key"]


def test_of_many_that_try_at_once_one_gets_it(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / str(number)
        assert in_children(4, lambda: acquire_lock(path) is not None) == 1  # noqa: B023


def test_of_many_that_take_over_at_once_one_gets_it(tmp_path: Path) -> None:
    gone = replace(new_holder(), pid=a_dead_process(), token="gone")
    for number in range(10):
        path = write(tmp_path / str(number), gone)
        winners = in_children(4, lambda: acquire_lock(path) is not None)  # noqa: B023
        assert winners <= 1  # who comes while another takes over gives up, and the lock is not lost
        found = read_lock(path)
        assert found is not None
        assert (found.holder.token == "gone") == (winners == 0)
        assert not path.with_name(path.name + ".taking").exists()


def test_the_lock_of_a_dead_process_is_taken_over_at_once(tmp_path: Path) -> None:
    gone = replace(new_holder(), pid=a_dead_process())
    lock = acquire_lock(write(tmp_path / "key", gone))
    assert lock is not None
    assert lock.is_ours()


def test_a_process_number_that_was_given_again_is_not_the_holder(tmp_path: Path) -> None:
    other = replace(new_holder(), started=1)
    assert acquire_lock(write(tmp_path / "key", other)) is not None


def test_a_stale_lock_is_removed_when_its_process_is_gone(tmp_path: Path) -> None:
    gone = write(tmp_path / "gone", replace(new_holder(), pid=a_dead_process()))
    alive = write(tmp_path / "alive", new_holder())
    for path in (gone, alive, tmp_path / "none"):
        remove_stale_lock(path)
    assert [path.name for path in tmp_path.iterdir()] == ["alive"]


def test_a_lock_of_another_machine_holds_as_long_as_it_is_touched(tmp_path: Path) -> None:
    far = replace(new_holder(), host="node7", scope="another boot", pid=1)
    assert acquire_lock(write(tmp_path / "fresh", far, touched_ago=STALE_SECONDS / 2)) is None
    assert acquire_lock(write(tmp_path / "stale", far, touched_ago=STALE_SECONDS + 5)) is not None


def test_a_damaged_lock_is_stale_after_a_while(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("{")
    assert acquire_lock(tmp_path / "key") is None
    then = time.time() - STALE_SECONDS - 5
    os.utime(tmp_path / "key", (then, then))
    assert acquire_lock(tmp_path / "key") is not None


def test_a_process_notices_that_its_lock_was_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "TOUCH_SECONDS", 0.01)
    lock = acquire_lock(tmp_path / "key")
    assert isinstance(lock, Lock)
    with lock:
        before = (tmp_path / "key").stat().st_mtime_ns
        deadline = time.monotonic() + 20
        while (tmp_path / "key").stat().st_mtime_ns == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / "key").stat().st_mtime_ns > before  # touched
        assert not lock.lost
        write(tmp_path / "key", replace(new_holder(), token="another"))
        while not lock.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        assert lock.lost
    assert (tmp_path / "key").exists()  # it belongs to another process


def test_waiting_ends_when_the_holder_is_gone_or_seen_to_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.01)
    assert wait_until_free(tmp_path / "absent")
    assert wait_until_free(write(tmp_path / "gone", replace(new_holder(), pid=a_dead_process())))
    path = write(tmp_path / "works", new_holder(), touched_ago=30)
    monkeypatch.setattr("lesionloss.core.locks.time.sleep", lambda seconds: os.utime(path))
    assert not wait_until_free(path)


def test_a_file_is_created_once_also_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(1, "no hard links here")

    monkeypatch.setattr("lesionloss.core.files.os.link", refuse)
    assert create_text(tmp_path / "a", "first")
    assert not create_text(tmp_path / "a", "second")
    assert (tmp_path / "a").read_text() == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_the_start_of_a_process_is_known() -> None:
    assert process_started(os.getpid())
    assert process_started(a_dead_process()) is None
