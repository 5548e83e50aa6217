"""Limits of containers and of cluster jobs, in both versions of control groups."""

from pathlib import Path

import pytest

from lesionloss.core import control_groups
from lesionloss.core.allocator import free_memory
from lesionloss.core.processors import usable_cores

GIB = 2**30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "own")
    monkeypatch.setattr(control_groups, "ROOT", tmp_path / "tree")
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(16)), raising=False)
    monkeypatch.setattr("lesionloss.core.allocator._free_of_machine", lambda meminfo: 64 * GIB)
    return tmp_path


def write(folder: Path, **values: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name.replace("__", ".")).write_text(f"{value}\n")


def test_without_limits_all_is_free(groups: Path) -> None:
    assert (usable_cores(), free_memory()) == (16, 64 * GIB)
    (groups / "own").write_text("0::/\n")
    write(groups / "tree", cpu__max="max 100000", memory__max="max", memory__current=GIB)
    assert (usable_cores(), free_memory()) == (16, 64 * GIB)


@pytest.mark.parametrize("place", ["job_7/step_0", "job_7", "."])
def test_the_narrowest_group_around_a_process_counts(groups: Path, place: str) -> None:
    (groups / "own").write_text("0::/job_7/step_0\n")
    write(groups / "tree" / "other_job", cpu__max="100000 100000", memory__max=GIB, memory__current=0)
    write(groups / "tree" / "job_7", cpu__max="800000 100000", memory__max=32 * GIB, memory__current=0)
    write(groups / "tree" / place, cpu__max="350000 100000", memory__max=8 * GIB, memory__current=3 * GIB)
    assert (usable_cores(), free_memory()) == (3, 5 * GIB)


def test_version_one_has_a_tree_for_each_controller(groups: Path) -> None:
    (groups / "own").write_text("5:memory:/slurm/job_7\n4:cpu,cpuacct:/slurm/job_7\n1:name=systemd:/x\n")
    tree = groups / "tree"
    write(tree / "cpu" / "slurm" / "job_7", cpu__cfs_quota_us=-1, cpu__cfs_period_us=100000)
    write(tree / "memory" / "slurm" / "job_7", memory__limit_in_bytes=4 * GIB, memory__usage_in_bytes=GIB)
    assert (usable_cores(), free_memory()) == (16, 3 * GIB)
    write(tree / "cpu" / "slurm", cpu__cfs_quota_us=400000, cpu__cfs_period_us=100000)
    write(tree / "memory" / "slurm", memory__limit_in_bytes=4 * GIB, memory__usage_in_bytes=5 * GIB)
    assert (usable_cores(), free_memory()) == (4, 0)


def test_a_part_of_a_processor_is_one(groups: Path) -> None:
    (groups / "own").write_text("0::/\n")
    write(groups / "tree", cpu__max="50000 100000")
    assert usable_cores() == 1
