"""Rows and summaries of an evaluation as CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lesionloss.core.version import __version__
from lesionloss.metrics.averages import CaseCounts, MetricSummary
from lesionloss.metrics.evaluation import ScoreRow
from lesionloss.metrics.lesion_table import SizeClass
from lesionloss.metrics.metric_registry import choose
from lesionloss.metrics.thresholds import CurvePoint

COLUMNS = ("case", "class", "lesion", "metric", "value", "penalised", "unit", "status")
CURVE_COLUMNS = ("threshold", "metric", "mean", "n")


def cell(value: float) -> str:
    """A number for a file: empty where undefined, `inf` where infinite, else all its digits."""
    return "" if math.isnan(value) else repr(float(value))


def _text(columns: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return buffer.getvalue()


def _line(row: ScoreRow) -> list[str]:
    value = row.value
    numbers = [cell(value.raw), cell(value.penalised)]
    return [row.case, row.label, row.lesion, row.metric, *numbers, row.unit, value.status.value]


def rows_csv(rows: Iterable[ScoreRow]) -> str:
    """The long table: one line for each case, class and metric, and for each fact of a lesion."""
    return _text(COLUMNS, map(_line, rows))


def curve_csv(curve: Iterable[CurvePoint]) -> str:
    """One line for each threshold and metric, with the number of cases behind the mean."""
    facts = (
        (
            point,
            (
                ("recall", point.recall, point.recall_n),
                ("precision", point.precision, point.precision_n),
                ("dice", point.dice, point.dice_n),
            ),
        )
        for point in curve
    )
    return _text(
        CURVE_COLUMNS,
        ((cell(point.threshold), name, cell(mean), str(n)) for point, means in facts for name, mean, n in means),
    )


def plain(value: Any) -> Any:
    """For JSON, which knows no NaN: undefined is null, infinite is "inf"."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


@dataclass(frozen=True)
class Evaluation:
    """The results of an evaluation but its rows; `cases` and `sizes` by class, `threshold` None for masks."""

    summaries: Mapping[tuple[str, str], MetricSummary]
    cases: Mapping[str, CaseCounts]
    sizes: Mapping[str, Sequence[SizeClass]]
    left_out: Sequence[str]
    threshold: float | None


def summary_json(overview: Evaluation) -> str:
    """Summaries with the records of their metrics, cases with an empty mask, detection by size, unmatched files."""
    records = []
    for (label, text), summary in overview.summaries.items():
        chosen = choose(text)
        record = chosen.metric
        facts = {"unit": chosen.unit, "better": record.direction, "title": record.title, "source": record.source}
        records.append({"class": label, "metric": text} | facts | asdict(summary))
    cases = [
        {"class": label} | asdict(counts) | {"specificity": counts.specificity}
        for label, counts in overview.cases.items()
    ]
    document = {
        "lesionloss": __version__,
        "threshold": overview.threshold,
        "cases": cases,
        "metrics": records,
        "detection_by_size": {label: [asdict(each) for each in sizes] for label, sizes in overview.sizes.items()},
        "unmatched": list(overview.left_out),
    }
    return json.dumps(plain(document), indent=2, allow_nan=False) + "\n"


def curve_json(curve: Sequence[CurvePoint], chosen: CurvePoint | None, left_out: Sequence[str]) -> str:
    """The curve, the chosen point or null, and unmatched files."""
    document = {
        "lesionloss": __version__,
        "curve": [asdict(point) for point in curve],
        "chosen": asdict(chosen) if chosen else None,
        "unmatched": list(left_out),
    }
    return json.dumps(plain(document), indent=2, allow_nan=False) + "\n"
