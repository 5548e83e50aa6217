"""The control groups of this process: the limits of containers and of the jobs of cluster schedulers."""

from pathlib import Path

OWN, ROOT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def control_groups(controller: str) -> list[Path]:
    """Return the folders of all groups that limit this process, the innermost first.

    Args:
        controller: cpu or memory. In version 2 of control groups a folder has all limits; in version 1 each controller
            has a tree of its own.
    """
    try:
        lines = OWN.read_text().splitlines()
    except OSError:
        lines = []
    found: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        tree = ROOT / controller if controllers else ROOT
        inner = tree / path.lstrip("/")
        found += [inner, *(parent for parent in inner.parents if parent.is_relative_to(tree))]
    return list(dict.fromkeys([*found, ROOT]))


def read_number(*paths: Path) -> int | None:
    """Return the number in the first of these files that there is; None where it holds none, as for no limit."""
    for path in paths:
        try:
            return int(path.read_text())
        except OSError:
            continue
        except ValueError:
            return None
    return None
