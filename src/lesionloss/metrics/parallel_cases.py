"""Do the same for the files of every case, in several processes."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from lesionloss.core.errors import DataError
from lesionloss.core.processes import process_pool
from lesionloss.metrics.file_matching import EvaluatedFiles

Outcome = TypeVar("Outcome")

# At most so many unreadable cases are named.
SHOWN = 10


def _guarded(task: tuple[Callable[[EvaluatedFiles, Any], Outcome], EvaluatedFiles, Any]) -> Outcome | str:
    """The result for one case, or the error in its files as text, so that those of other cases are found too."""
    work, files, argument = task
    try:
        return work(files, argument)
    except DataError as error:
        return str(error)


def for_each_case(
    work: Callable[[EvaluatedFiles, Any], Outcome],
    cases: Sequence[EvaluatedFiles],
    argument: Any,
    *,
    jobs: int,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
    shared: Sequence[str] = (),
) -> list[Outcome]:
    """Call `work(files, argument)` for every case.

    Args:
        work: A function at the top of a module.
        cases: Files of each case.
        argument: The same for all cases.
        jobs: Number of processes.
        progress: Wraps the iterator over the results.
        shared: Slow modules that are imported once for all processes.

    Returns:
        The results in the order of the cases.

    Raises:
        DataError: with all problems, if a case can't be read. There are no results without it: their mean would be
            over other cases.
    """
    tasks = [(work, files, argument) for files in cases]
    workers = min(jobs, len(tasks))
    if workers <= 1:
        outcomes = list(progress(map(_guarded, tasks)))
    else:
        try:
            with process_pool(workers, shared) as pool:
                outcomes = list(progress(pool.map(_guarded, tasks)))
        except BrokenProcessPool as error:
            raise DataError(
                f"one of {workers} processes was killed, most likely because memory ran out; "
                "try fewer at a time with --jobs 1"
            ) from error
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise DataError(f"{len(problems)} of {len(tasks)} cases can't be read: {'; '.join([*problems[:SHOWN], *more])}")
    return [outcome for outcome in outcomes if not isinstance(outcome, str)]
