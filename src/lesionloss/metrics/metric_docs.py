"""Cards of all metrics, written from the registry."""

import inspect
import math

from lesionloss.metrics.metric_options import MEANINGS, option_parameters
from lesionloss.metrics.metric_registry import Better, Metric, diagonal_mm, list_metrics

LEGEND = """\
Written by `lesionloss metrics --markdown` from the registry of metrics.

One case: prediction, reference, spacing in mm. TP, FP, FN, TN: voxels outside `ignore`. Border voxel: a foreground
voxel with a background neighbour across a face; beyond the image is background; a volume of one slice has borders
within the slice only. All distances are in mm between the centres of voxels, or in voxels with `voxels=True`. Lesion:
a connected component that is large enough (options `connectivity`, `min_volume_mm3`, `min_voxels`). p: lesion
probability; a voxel is predicted where p >= threshold.

A metric gives one number for one case and never a mean. Where a mask is empty the raw value is that of the table:
`computed` where the formula holds, `undefined` where there is no value (an empty cell, null in JSON), `infinite` for
a distance to nothing. The status says which mask was empty: `ok`, `pred_empty`, `ref_empty`, `both_empty`; for metrics
of lesions, a mask without a lesion is empty. Means are over defined, finite values and come with their number; cases
without a lesion in the reference are left out of the mean where the table has a fixed value for them. A case with
lesions in which nothing is predicted is missed: its `penalised` value is the worst one, 0 for scores, the diagonal of
the image for distances; for all other cases it is the raw value. Scores that are undefined where both masks are empty
take `both_empty`, e.g. `dice(both_empty=1)`, to count such cases."""


def cell(value: float | None) -> str:
    """A raw value of the table for empty masks, in words."""
    if value is None:
        return "computed"
    return "undefined" if math.isnan(value) else "infinite" if math.isinf(value) else f"{value:g}"


def worst(record: Metric) -> str:
    """The penalised value of a missed case, in words."""
    if record.worst is None:
        return ""
    return "diagonal" if record.worst is diagonal_mm else "0"


def call(record: Metric) -> str:
    """The metric as text with its defaults: name(option=default, ...); options without a default are left out."""
    inside = ", ".join(f"{key}={value}" for key, value in record.options.items() if value is not None)
    return f"{record.name}({inside})" if inside else record.name


def formula(record: Metric) -> str:
    """The docstring of the function, in one line."""
    return " ".join((inspect.getdoc(record.function) or "").split())


def options(record: Metric) -> list[tuple[str, str, str]]:
    """Name, default and description of each option."""
    found, parameters = [], option_parameters(record.options)
    for name, default in record.options.items():
        kind = parameters[name].describe()
        words = f"{MEANINGS[name].words} ({kind})" if name in MEANINGS else kind
        found.append((name, "not given" if default is None else str(default), words))
    return found


def needs(record: Metric) -> str:
    """The maps that it needs, in words."""
    return " and ".join(f"{need} map" for need in sorted(record.needs))


def markdown() -> str:
    """The page of all metrics: one table of all metrics with their empty cases, then one section for each."""
    lines = ["# Metrics", "", LEGEND, ""]
    lines += ["| metric | unit | better | only prediction empty | only reference empty | both empty | missed case |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for record in list_metrics():
        empty = record.empty
        cells = (record.unit, _better(record), cell(empty.pred), cell(empty.ref), cell(empty.both), worst(record))
        lines.append(f"| [`{record.name}`](#{record.name}) | {' | '.join(cells)} |")
    for record in list_metrics():
        lines += ["", f"## {record.name}", "", f"{record.title}.", "", "```", call(record), "```", ""]
        lines += [f"- **Formula:** {formula(record)}"]
        lines += [f"- `{name}` (default: {default}): {words}" for name, default, words in options(record)]
        lines += [f"- **Needs:** {needs(record)}"] if record.needs else []
        lines += [f"- **Source:** {record.source}"]
    return "\n".join(lines) + "\n"


def _better(record: Metric) -> str:
    return "" if record.direction is Better.NONE else record.direction.value.replace("_", " ")
