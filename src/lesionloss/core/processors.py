"""The processors of this machine that this process may use."""

import os
from pathlib import Path

from lesionloss.core.control_groups import control_groups, read_number


def usable_cores() -> int:
    """Return the number of processors that this process may use, within the quotas of its control groups."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for group in control_groups("cpu") if (quota := _quota(group)) is not None]
    return max(1, min([count, *quotas]))


def _quota(group: Path) -> int | None:
    """Whole processors that a group may use; None: all."""
    try:
        quota, period = map(int, (group / "cpu.max").read_text().split())
    except (OSError, ValueError):  # version 1, or no limit
        quota, period = (read_number(group / f"cpu.cfs_{name}_us") or 0 for name in ("quota", "period"))
    return quota // period if quota > 0 and period > 0 else None
