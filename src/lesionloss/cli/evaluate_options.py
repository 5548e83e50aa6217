"""The options of `lesionloss evaluate`: which exclude or need each other, and what they mean."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lesionloss.core.errors import UsageError

if TYPE_CHECKING:
    from lesionloss.metrics.evaluation import EvaluationRequest
    from lesionloss.metrics.file_matching import MatchedFiles

EXCLUDING = (
    ("--threshold", "--threshold-from", "--thresholds", "--classes"),
    ("--want-recall", "--want-precision"),
    ("--thresholds", "--metrics"),
    ("--thresholds", "--lesions"),
    ("--thresholds", "--brain"),
    ("--classes", "--probabilities"),
    ("--classes", "--brain"),
)


def check_together(given: Mapping[str, Any]) -> None:
    """Check options, given by name (empty or None: not given), that exclude or need each other.

    Raises:
        UsageError: for two that exclude each other, one that needs another, or a value out of its range.
    """
    used = {name for name, value in given.items() if value is not None and value is not False and value != ""}
    for group in EXCLUDING:
        clash = [name for name in group if name in used]
        if len(clash) > 1:
            raise UsageError(f"{clash[0]} and {clash[1]} exclude each other; choose one")
    if "--class-weights" in used and "--classes" not in used:
        raise UsageError("--class-weights weighs the classes of --classes in their mean; give --classes too")
    for name in ("--want-recall", "--want-precision"):
        if name in used and "--thresholds" not in used:
            raise UsageError(f"{name} chooses among thresholds; add --thresholds FROM:TO:STEP")
        if name in used and not 0 < given[name] <= 1:
            raise UsageError(f"{name}: expected a share above 0 and up to 1, got {given[name]:g}")


def check_out(out: Path | None, force: bool) -> None:
    """Check that the files of --out can be written, before anything is computed.

    Raises:
        UsageError: if they exist or the folder can't be written to.
    """
    if out is None:
        return
    if out.suffix != ".csv":
        raise UsageError(f"--out {out}: expected a name that ends in .csv")
    for path in (out, out.with_suffix(".json")):
        if path.exists() and not force:
            raise UsageError(f"{path} exists; choose another --out, or --force to overwrite it")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError as error:
        raise UsageError(f"--out {out}: can't write there ({error.strerror}); choose another folder") from error


def threshold_in(path: Path) -> float:
    """The threshold that an earlier call with --thresholds chose.

    Raises:
        UsageError: if there is none in the file.
    """
    import json

    try:
        value = float(json.loads(path.read_text(encoding="utf-8"))["chosen"]["threshold"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UsageError(
            f"--threshold-from {path}: no chosen threshold in it; write one with --thresholds, --want-recall and --out"
        ) from error
    return value


def split_names(text: str) -> list[str]:
    """Split a list such as "dice, nsd(tolerance_mm=2)" at the commas outside parentheses."""
    names, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            names.append("")
        else:
            names[-1] += letter
    return [name.strip() for name in names]


def request_of(
    metrics: str, classes: str, level: float | None, lesions: bool, matched: "MatchedFiles", weights: str = ""
) -> "EvaluationRequest":
    """What to compute of each case.

    Raises:
        UsageError: for a metric that needs maps which were not given, and for classes or weights that are no numbers.
    """
    from lesionloss.metrics import choose
    from lesionloss.metrics.evaluation import EvaluationRequest, available

    beside = () if classes else tuple(matched.cases[0].beside)
    possible = available(beside, level is not None)
    names = list(dict.fromkeys(split_names(metrics))) if metrics else possible
    for text in names:
        if choose(text).metric.name not in possible:
            needs = " and ".join(sorted(choose(text).metric.needs))
            where = "there are none with --classes" if classes else "give them with --probabilities or --brain"
            raise UsageError(f"metric {text!r} needs {needs} maps; {where}")
    try:
        labels = tuple(int(label) for label in classes.split(",")) if classes else ()
    except ValueError as error:
        raise UsageError(f"--classes: expected whole numbers such as 1,2, got {classes!r}") from error
    return EvaluationRequest(tuple(names), level, labels, lesions, _weights(weights, labels))


def _weights(text: str, labels: tuple[int, ...]) -> tuple[float, ...]:
    from lesionloss.metrics.several_classes import check_class_weights

    try:
        weights = [float(word) for word in text.split(",")] if text else []
        return check_class_weights(weights, labels)
    except (ValueError, UsageError) as error:
        raise UsageError(
            f"--class-weights: expected a number of 0 or more for each of --classes, such as 2,1; got {text!r}"
        ) from error
