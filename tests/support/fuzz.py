"""Damage files in every way and read them: only errors of ours may come out, in time and without much memory.

python tests/support/fuzz.py --minutes 30 --seed 1 --out fuzz-failures

Every file that failed is kept in the folder --out, with the error; the same seed gives the same files. The exit code
is 1 if any failed.
"""

import argparse
import contextlib
import faulthandler
import gc
import logging
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fuzz_changes import damaged
from fuzz_targets import Target, outcome, targets

SLOW_SECONDS, HANG_SECONDS = 10, 300  # of the processor, and of the clock
MOST_MEMORY_KIB = 2**20
KEPT_OF_A_KIND = 3


class Slow(BaseException):
    """A reader takes too long. No Exception, so that no reader catches it."""


@dataclass
class Tally:
    """What became of the files of one target."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: float = 0.0


def attempt(target: Target, seed: object) -> tuple[str, str, bytes]:
    """Damage the file of a target, read it, and restore it.

    Returns:
        "read", "refused" or "failed"; the error of a failure; the damaged content.
    """
    draw = Random(f"{target.name} {seed}")
    paths = [target.folder / name for name in {target.file, *target.mended}]
    whole = {path: path.read_bytes() for path in paths}
    place = target.folder / target.file
    content = damaged(whole[place], place.suffix, draw)
    mend = target.mend if draw.random() < 0.8 else None
    try:
        place.write_bytes(content)
        if mend is not None:
            with contextlib.suppress(Exception):  # it reads the damaged file, too
                mend(target.folder)
        content = place.read_bytes()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with warnings.catch_warnings(record=True) as warned, _limited(SLOW_SECONDS):
            warnings.simplefilter("always")
            found = outcome(target)
        noise = [str(each.message) for each in warned if not issubclass(each.category, DeprecationWarning)]
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        if noise:
            return "failed", f"warning: {noise[0]}", content
        if grown > MOST_MEMORY_KIB:
            return "failed", f"memory: {grown / 2**20:.1f} GiB", content
        return found, "", content
    except (Exception, Slow):
        return "failed", traceback.format_exc(), content
    finally:
        for path, before in whole.items():
            path.write_bytes(before)


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise Slow(f"more than {seconds} seconds of the processor")

    before = signal.signal(signal.SIGPROF, stop)
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)  # where no Python runs; the file is left in place
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGPROF, before)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--only", default="", help="a part of the names of targets")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # of nibabel, about headers
    with tempfile.TemporaryDirectory() as folder:
        chosen = {name: each for name, each in targets(Path(folder)).items() if options.only in name}
        gc.collect()
        failures = _loop(chosen, options.minutes * 60, options.seed, options.out)
    return 1 if failures else 0


def _loop(chosen: dict[str, Target], seconds: float, seed: int, out: Path) -> int:
    tallies = {name: Tally() for name in chosen}
    kinds: Counter[str] = Counter()
    end = time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        name = min(chosen, key=lambda each: tallies[each].seconds)  # as much time for each
        target, tally = chosen[name], tallies[name]
        number = tally.outcomes.total()
        found, error, content = attempt(target, f"{seed} {number}")
        tally.outcomes[found] += 1
        tally.seconds += time.monotonic() - begun
        tally.slowest = max(tally.slowest, time.monotonic() - begun)
        if found == "failed":
            kind = f"{name}: {_last_lines(error)}"
            kinds[kind] += 1
            if kinds[kind] <= KEPT_OF_A_KIND:
                _keep(out / name.replace(" ", "-") / f"{seed}-{number}", target, content, error)
            if kinds[kind] == 1:
                print(f"failed: {kind}", flush=True)
    _show(tallies, kinds)
    return sum(kinds.values())


def _last_lines(error: str) -> str:
    """The error and the line where it came from, the same for all failures of a kind."""
    lines = error.strip().splitlines()
    ours = [line.strip() for line in lines if "lesionloss" in line and line.strip().startswith("File")]
    return f"{lines[-1][:120]} ({ours[-1] if ours else ''})"


def _keep(place: Path, target: Target, content: bytes, error: str) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / Path(target.file).name).write_bytes(content)
    (place / "error.txt").write_text(error)


def _show(tallies: dict[str, Tally], kinds: Counter[str]) -> None:
    print(f"{'file':<28}{'tried':>8}{'read':>8}{'refused':>9}{'failed':>8}{'slowest':>10}")
    for name, tally in tallies.items():
        counts = [tally.outcomes[key] for key in ("read", "refused", "failed")]
        print(f"{name:<28}{sum(counts):>8}{counts[0]:>8}{counts[1]:>9}{counts[2]:>8}{tally.slowest:>8.2f} s")
    total = sum((tally.outcomes for tally in tallies.values()), Counter())
    print(
        f"{sum(total.values())} files tried: {total['read']} read, {total['refused']} refused, {total['failed']} failed"
    )
    print(f"largest memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    for kind, count in kinds.most_common():
        print(f"{count:>6} x {kind}")


if __name__ == "__main__":
    sys.exit(main())
