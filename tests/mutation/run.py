"""Mutation testing of the modules that decide numbers: does a test fail when a small fault is put into one of them?

    python tests/mutation/run.py [MODULE ...]

Tests are collected once. Each mutant is a forked process, in which the functions have the fault and the tests that call
them run. Tools for this exist; but one (mutmut 3) leaves out decorated functions, which all losses and metrics are, and
one (cosmic-ray) starts anew, with all imports, for each mutant.
"""

import argparse
import ast
import gc
import importlib
import json
import os
import random
import resource
import shlex
import signal
import sys
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from unittest.mock import patch

import pytest
from operators import Swap, sites, variants

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lesionloss"
RECORDED = ROOT / ".mutation_cache" / "tests.json"  # seconds and called functions of each test, imports
PYTEST = ["-q", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--tb=no"]
FAULTY = 99  # the exit status of a process that failed by itself


@dataclass(frozen=True)
class Mutant:
    """The fault number `variant` at the place number `site` of a file; `text` describes it."""

    path: Path
    site: int
    variant: int
    line: int
    function: str  # file and name of the innermost function around it; only the file if there is none
    inside: bool  # in the body of that function; else it is executed by the import
    text: str

    def code(self) -> CodeType:
        """The module with the fault, compiled."""
        tree = ast.parse(self.path.read_text(encoding="utf-8"))
        site = list(sites(tree))[self.site]
        new = ast.copy_location(list(variants(site))[self.variant], site.node)
        Swap(site.node, new).visit(tree)
        return compile(ast.fix_missing_locations(tree), str(self.path), "exec")


def mutants_of(path: Path) -> Iterator[Mutant]:
    """All mutants of a file."""
    seen: Counter[str] = Counter()
    for number, site in enumerate(sites(ast.parse(path.read_text(encoding="utf-8")))):
        function = f"{path.relative_to(PACKAGE)}:{site.function.name if site.function else ''}"
        for variant, new in enumerate(variants(site)):
            change = " ".join(f"{ast.unparse(site.node)} -> {ast.unparse(new)}".split())
            text = f"{function} {change}"
            seen[text] += 1
            text += f" ({seen[text]})" if seen[text] > 1 else ""
            yield Mutant(path, number, variant, getattr(site.node, "lineno", 0), function, site.inside, text)


def forked(work: Callable[[], int], cpu_seconds: float) -> int:
    """Call `work` in a silent process of its own; its exit status, negative for the signal that ended it."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        status = FAULTY
        try:
            os.setpgrp()
            resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds), int(cpu_seconds) + 5))
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            os.dup2(silence, 2)
            status = work()
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what a test started and did not end
    if status == FAULTY:
        raise RuntimeError("mutation testing itself failed")
    return status


def run_tests(session: pytest.Session, items: list[pytest.Item], *, to_the_end: bool) -> int:
    """Run tests without a word; 1 if one fails."""
    session.config.pluginmanager.unregister(name="terminalreporter")  # it has its own copy of stdout
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed and not to_the_end:
            break
    return int(session.testsfailed > 0)


class Recorder:
    """A pytest plugin that notes the seconds of each test and the functions of the package that it calls."""

    def __init__(self) -> None:
        self.tests: dict[str, tuple[float, list[str]]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Follow the calls of one test; one that fails without a fault is of no use."""
        calls, start, failed = set[CodeType](), time.process_time(), item.session.testsfailed

        def trace(frame: FrameType, _event: str, _argument: object) -> None:
            calls.add(frame.f_code)

        sys.settrace(trace)
        try:
            result = yield
        finally:
            sys.settrace(None)
        inside = [code for code in calls if code.co_filename.startswith(str(PACKAGE))]
        names = sorted({f"{Path(code.co_filename).relative_to(PACKAGE)}:{code.co_name}" for code in inside})
        if item.session.testsfailed == failed:
            self.tests[item.nodeid] = (time.process_time() - start, names)
        return result


class Mutation:
    """A pytest plugin that tries mutants on the collected tests."""

    def __init__(self, tries: dict[str, list[Mutant]], longest: float) -> None:
        self.tries, self.longest = tries, longest
        self.survivors: Counter[str] = Counter()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests without a fault, then some of them for each mutant."""
        known = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {"tests": {}, "modules": []}
        new = [item for item in session.items if item.nodeid not in known["tests"]]

        def record() -> int:
            recorder = Recorder()
            session.config.pluginmanager.register(recorder)
            run_tests(session, new, to_the_end=True)
            modules = sorted({*known["modules"], *(name for name in sys.modules if not is_own(name))})
            RECORDED.parent.mkdir(exist_ok=True)
            RECORDED.write_text(json.dumps({"tests": known["tests"] | recorder.tests, "modules": modules}))
            return 0

        if new:
            forked(record, 3600)
        recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
        for name in recorded["modules"]:  # what tests import late would be imported again for each mutant
            with suppress(Exception), warnings.catch_warnings(action="ignore"):
                importlib.import_module(name)
        tests = [(*recorded["tests"][item.nodeid], item) for item in session.items if item.nodeid in recorded["tests"]]
        tests.sort(key=lambda test: test[0])
        gc.unfreeze()
        functions = [each for each in gc.get_objects() if type(each) is FunctionType]
        gc.freeze()  # else each collection in a forked process would copy all memory
        for module, mutants in self.tries.items():
            for mutant in mutants:
                total, chosen = 0.0, []
                for seconds, calls, item in tests:
                    names = calls if mutant.function[-1] != ":" else [call.split(":")[0] + ":" for call in calls]
                    if mutant.function in names:
                        total += seconds
                        if total < self.longest:
                            chosen.append(item)
                if not (chosen and is_killed(mutant, functions, session, chosen, 60 + 5 * self.longest)):
                    self.survivors[module] += 1
                    print(f"survives {len(chosen)} tests, {mutant.text} (line {mutant.line})", flush=True)
        return True


def is_own(module: str) -> bool:
    """Whether an imported module is one of the package or of its tests."""
    return (getattr(sys.modules[module], "__file__", None) or "").startswith(str(ROOT))


def is_killed(
    mutant: Mutant, functions: list[FunctionType], session: pytest.Session, items: list[pytest.Item], seconds: float
) -> bool:
    """Whether one of the tests fails with the fault."""
    code, path, load = mutant.code(), str(mutant.path), SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        return code if loader.path == path else load(loader, name)

    def work() -> int:
        if mutant.inside:
            put_in(code, [function for function in functions if function.__code__.co_filename == path])
            return run_tests(session, items, to_the_end=False)
        for name in filter(is_own, list(sys.modules)):
            del sys.modules[name]
        with patch.object(SourceFileLoader, "get_code", get_code):
            return int(pytest.main([*PYTEST, "-x", *(item.nodeid for item in items)]))

    return forked(work, seconds) != 0


def put_in(code: CodeType, functions: list[FunctionType]) -> None:
    """Give functions of a module the code that the compiled module has for them."""
    codes, left = {}, [code]
    while left:
        inner = left.pop()
        codes[inner.co_qualname, inner.co_firstlineno] = inner
        left += [constant for constant in inner.co_consts if isinstance(constant, CodeType)]
    for function in functions:
        own = function.__code__
        function.__code__ = codes.get((own.co_qualname, own.co_firstlineno), own)


def main() -> None:
    """Run the mutants; print those that survive, and the score of each module."""
    settings = tomllib.loads((Path(__file__).parent / "mutation.toml").read_text(encoding="utf-8"))
    modules: dict[str, dict[str, str]] = settings["modules"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(modules)}; default: all")
    parser.add_argument("--sample", type=int, default=40, help="mutants of each module (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="tests for each mutant (default: %(default)s)")
    parser.add_argument("--match", default="", help="only the mutants of the sample whose line has this text")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.chdir(ROOT)
    tries: dict[str, dict[str, list[Mutant]]] = {}
    counts, low = {}, False
    for module in options.modules or modules:
        paths = sorted(path for files in modules[module]["files"].split() for path in PACKAGE.glob(files))
        every = [mutant for path in paths for mutant in mutants_of(path)]
        sample = random.Random(f"{options.seed} {module}").sample(every, min(options.sample, len(every)))
        sample = [one for one in sample if options.match in one.text]
        tried = [one for one in sample if one.text not in settings["equivalent"]]
        tries.setdefault(modules[module]["tests"], {})[module] = tried
        counts[module] = f"{len(every):5} mutants, sample of {len(sample):3}, {len(sample) - len(tried):2} equivalent"
    for tests, of_tests in tries.items():
        plugin = Mutation(of_tests, options.seconds)
        if status := pytest.main([*PYTEST, *shlex.split(tests)], plugins=[plugin]):
            sys.exit(f"mutants of {', '.join(of_tests)} were not all tried: pytest ended with {status!r}")
        for module, mutants in of_tests.items():
            survivors = plugin.survivors[module]
            score = 1 - survivors / max(1, len(mutants))
            low |= score < settings["least_score"]
            print(f"{module:20}{counts[module]}, {survivors:2} survive, score {score:4.0%}", flush=True)
    sys.exit(low)


if __name__ == "__main__":
    main()
