"""The figures of page and paper: each is drawn once, saved as SVG, PDF and PNG, and given to the page as SVG."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lesionloss.core.number_text import decimals_for, number, unit_text
from lesionloss.report import panels
from lesionloss.report.charts import differences_chart, patients_chart
from lesionloss.report.class_means import ClassMean, ClassResult
from lesionloss.report.figure_files import Gallery, as_svg, for_the_page
from lesionloss.report.gather import Gathered, MetricResult
from lesionloss.report.html_numbers import Shown, bounds, p_value, part_of, shown
from lesionloss.report.loss_styles import Style
from lesionloss.report.more_charts import components_chart, detection_chart, ranks_chart
from lesionloss.report.wording import difference_sentence, luck_sentence
from lesionloss.runs.results import Results
from lesionloss.statistics import Comparison


@dataclass(frozen=True)
class DifferenceRow:
    """One loss against the baseline, as the table shows it."""

    loss: str
    cells: tuple[tuple[str, str | Shown | Markup], ...]  # what it is sorted by, and what it says


@dataclass(frozen=True)
class ClassRow:
    """One class: loss, mean, interval, and patients with a value of those that have the class."""

    name: str
    cells: tuple[tuple[str, Shown, Markup, Markup], ...]


@dataclass(frozen=True)
class Section:
    """One metric: its charts, its table of differences, and its table of classes where there are several."""

    metric: str
    title: str
    unit: str
    patients: Markup
    differences: Markup | None
    ranks: Markup | None
    components: Markup | None
    luck: tuple[str, ...]
    rows: tuple[DifferenceRow, ...]
    sentences: tuple[tuple[str, str], ...]
    classes: tuple[ClassRow, ...]


@dataclass(frozen=True)
class Panel:
    """A small chart of one loss; `name`: how the page calls it."""

    loss: str
    name: str
    chart: Markup


def sections(gathered: Gathered, looks: Mapping[str, Style], gallery: Gallery) -> list[Section]:
    """One section per metric; figures go into the gallery."""
    names = file_names([metric.comparison.metric for metric in gathered.metrics])
    return [
        _section(gathered.results, metric, place, name, looks, gallery)
        for place, (metric, name) in enumerate(zip(gathered.metrics, names, strict=True))
    ]


def _section(
    results: Results, metric: MetricResult, place: int, name: str, looks: Mapping[str, Style], gallery: Gallery
) -> Section:
    comparison, title = metric.comparison, metric.title
    differences, ranks, components = None, None, None
    patients = gallery.save(patients_chart(results, comparison, looks), f"patients-{name}")
    if any(difference.patients for difference in comparison.differences):
        svg = gallery.save(differences_chart(results, comparison, looks), f"differences-{name}")
        differences = for_the_page(svg, f"d-{name}", f"{title}: paired differences from {comparison.baseline}")
    if comparison.ranks:
        svg = gallery.save(ranks_chart(comparison.ranks, looks), f"ranks-{name}")
        ranks = for_the_page(svg, f"r-{name}", f"{title}: ranks over resampled patients and seeds")
    if any(component.share is not None for component in comparison.components):
        svg = gallery.save(components_chart(comparison.components), f"components-{name}")
        components = for_the_page(svg, f"c-{name}", f"{title}: where the variance comes from")
    return Section(
        metric=comparison.metric,
        title=title,
        unit=unit_text(comparison.unit),
        patients=for_the_page(patients, f"p-{name}", f"{title}: values of the patients"),
        differences=differences,
        ranks=ranks,
        components=components,
        luck=_luck(comparison),
        rows=_difference_rows(metric, f"metrics.{place}.differences"),
        sentences=tuple((d.loss, difference_sentence(d)) for d in comparison.differences),
        classes=_classes(metric.classes, f"metrics.{place}.classes"),
    )


def _difference_rows(metric: MetricResult, path: str) -> tuple[DifferenceRow, ...]:
    decimals = decimals_for(d.mean for d in metric.comparison.differences)
    rows = []
    for index, d in enumerate(metric.comparison.differences):
        at = f"{path}.{index}"
        seeds = ", ".join(number(value, decimals, sign=True) for _, value in d.seed_means)
        improved = Markup("{} of {}").format(
            Shown(str(d.improved), f"{at}.improved"), Shown(str(d.patients), f"{at}.patients")
        )
        test = p_value(d.p_holm, f"{at}.p_holm")
        rows.append(
            DifferenceRow(
                d.loss,
                (
                    ("" if d.mean is None else repr(d.mean), shown(d.mean, f"{at}.mean", decimals, sign=True)),
                    (
                        "" if d.interval is None else repr(d.interval.low),
                        bounds(d.interval, f"{at}.interval", decimals, sign=True),
                    ),
                    (str(d.improved), improved),
                    ("" if d.p_holm is None else repr(d.p_holm), test),
                    ("", seeds),
                    ("", d.pairing),
                ),
            )
        )
    return tuple(rows)


def _luck(comparison: Comparison) -> tuple[str, ...]:
    """How often another seed would crown another loss."""
    return (luck_sentence(comparison.luck),) if comparison.luck else ()


def _classes(classes: Sequence[ClassResult], path: str) -> tuple[ClassRow, ...]:
    decimals = decimals_for(each.mean for one in classes for each in one.losses)
    return tuple(
        ClassRow(
            one.name,
            tuple(_class_cell(each, f"{path}.{row}.losses.{n}", decimals) for n, each in enumerate(one.losses)),
        )
        for row, one in enumerate(classes)
    )


def _class_cell(each: ClassMean, path: str, decimals: int) -> tuple[str, Shown, Markup, Markup]:
    return (
        each.loss,
        shown(each.mean, f"{path}.mean", decimals),
        bounds(each.interval, f"{path}.interval", decimals),
        part_of(each.patients_defined, each.patients, path, "patients_defined", "patients"),
    )


def small_charts(gathered: Gathered, looks: Mapping[str, Style], gallery: Gallery) -> dict[str, list[Panel]]:
    """Panels by kind: thresholds, reliability, training, pull; each kind also as one sheet in the gallery."""
    trained = [(band.loss, panels.band([band], looks[band.loss], "step")) for band in gathered.loss_bands]
    kinds = {
        "thresholds": [
            (x, panels.thresholds(curve, looks[x], used)) for x, used, curve in gathered.thresholds if curve
        ],
        "reliability": [(x, panels.reliability(measured, looks[x])) for x, measured in gathered.calibration],
        "training": trained,
        "pull": [(card.loss, panels.pull(card.pull, looks[card.loss])) for card in gathered.cards if card.pull],
    }
    return {kind: _panels(kind, painters, gallery) for kind, painters in kinds.items()}


def epoch_charts(gathered: Gathered, looks: Mapping[str, Style], gallery: Gallery) -> dict[str, list[Panel]]:
    """Panels over epochs by metric, all losses of a metric on the same scale."""
    charts = {}
    metrics = list(dict.fromkeys(band.metric for band in gathered.epoch_bands))
    for metric, name in zip(metrics, file_names(metrics), strict=True):
        bands = [band for band in gathered.epoch_bands if band.metric == metric]
        low, high = min(min(band.low) for band in bands), max(max(band.high) for band in bands)
        room = 0.04 * (high - low) or 0.5
        painters = []
        for loss in dict.fromkeys(band.loss for band in bands):
            mine = [band for band in bands if band.loss == loss]
            painters.append((loss, panels.band(mine, looks[loss], "epoch", (low - room, high + room))))
        charts[metric] = _panels(f"epochs-{name}", painters, gallery)
    return charts


def _panels(kind: str, painters: Sequence[tuple[str, panels.Painter]], gallery: Gallery) -> list[Panel]:
    if painters:
        gallery.save(panels.sheet(painters), kind)
    return [
        Panel(loss, f"{kind}-{place}", for_the_page(as_svg(panels.alone(paint)), f"{kind}-{place}", f"{loss}: {kind}"))
        for place, (loss, paint) in enumerate(painters)
    ]


def save_detection(gathered: Gathered, looks: Mapping[str, Style], gallery: Gallery) -> None:
    """The chart of lesions found by size, for a paper; the page shows its numbers in a table."""
    if any(size.lesions for _, sizes in gathered.detection for size in sizes):
        gallery.save(detection_chart(gathered.detection, looks), "detection-by-size")


def file_names(metrics: Sequence[str]) -> list[str]:
    """Names that are safe for files, one per metric."""
    names: list[str] = []
    for metric in metrics:
        plain = re.sub(r"[^A-Za-z0-9]+", "-", metric).strip("-") or "metric"
        names.append(plain if plain not in names else f"{plain}-{len(names)}")
    return names
