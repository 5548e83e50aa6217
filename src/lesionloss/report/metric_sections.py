"""The sections of the page, one per metric: charts, table of paired differences, table of classes.

Each chart is drawn once, saved as SVG, PDF and PNG, and used in the page as SVG.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lesionloss.core.number_text import decimals_for, number, unit_text
from lesionloss.report.class_means import ClassResult, LossInClass, mean_over_classes, weights_in_words
from lesionloss.report.figure_files import FigureFolder, file_names, for_the_page
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.number_html import NumberText, bounds, count_text, number_text, p_value, part_of
from lesionloss.report.ranking_charts import critical_difference_chart, pairs_chart, profiles_chart
from lesionloss.report.report_content import MetricResult, ReportContent
from lesionloss.report.row_charts import components_chart, differences_chart, patients_chart, ranks_chart
from lesionloss.report.wording import difference_sentence, seed_variability_sentence
from lesionloss.statistics import PairedDifference


@dataclass(frozen=True)
class DifferenceRow:
    """One loss against the baseline, as the table shows it."""

    loss: str
    cells: tuple[tuple[str, str | NumberText | Markup], ...]  # sort key and text


@dataclass(frozen=True)
class ClassTable:
    """Losses by classes: the mean over classes, then for each class mean, interval, and patients with a value.

    `weights`: of the classes in the mean, in words; empty for equal ones.
    """

    names: tuple[str, ...]
    rows: tuple[tuple[str, NumberText, tuple[tuple[NumberText, Markup, Markup], ...]], ...]
    weights: str


@dataclass(frozen=True)
class RankingViews:
    """Charts of rankings with their captions, a table of losses, and Kendall's tau between both orders."""

    charts: tuple[tuple[str, Markup], ...]
    rows: tuple[tuple[str, NumberText, NumberText, NumberText, NumberText, NumberText, Markup], ...]
    tau: NumberText


@dataclass(frozen=True)
class MetricSection:
    """One metric: its charts, its table of differences, and its table of classes where there are several."""

    metric: str
    title: str
    unit: str
    patients: Markup
    differences: Markup | None
    ranks: Markup | None
    components: Markup | None
    seed_variability: str
    rows: tuple[DifferenceRow, ...]
    sentences: tuple[tuple[str, str], ...]
    classes: ClassTable | None
    rankings: RankingViews | None


def metric_sections(
    content: ReportContent, styles: Mapping[str, LossStyle], figures: FigureFolder
) -> list[MetricSection]:
    """One section per metric; its figures are saved."""
    names = file_names([metric.comparison.metric for metric in content.metrics])
    return [
        _section(metric, place, name, styles, figures)
        for place, (metric, name) in enumerate(zip(content.metrics, names, strict=True))
    ]


def _section(
    metric: MetricResult, place: int, name: str, styles: Mapping[str, LossStyle], figures: FigureFolder
) -> MetricSection:
    scores, comparison, title = metric.scores, metric.comparison, metric.title
    variability = comparison.seed_variability
    differences, ranks, components = None, None, None
    patients = figures.save(patients_chart(scores, comparison, styles), f"patients-{name}")
    if any(difference.patients for difference in comparison.differences):
        svg = figures.save(differences_chart(scores, comparison, styles), f"differences-{name}")
        differences = for_the_page(svg, f"d-{name}", f"{title}: paired differences from {comparison.baseline}")
    if comparison.ranks:
        svg = figures.save(ranks_chart(comparison.ranks, styles, title), f"ranks-{name}")
        ranks = for_the_page(svg, f"r-{name}", f"{title}: ranks, and those that the data leave possible")
    if any(component.share for component in comparison.components):
        svg = figures.save(components_chart(comparison.components, title), f"components-{name}")
        components = for_the_page(svg, f"c-{name}", f"{title}: sources of the variance")
    return MetricSection(
        metric=comparison.metric,
        title=title,
        unit=unit_text(comparison.unit),
        patients=for_the_page(patients, f"p-{name}", f"{title}: patients"),
        differences=differences,
        ranks=ranks,
        components=components,
        seed_variability=seed_variability_sentence(variability) if variability else "",
        rows=difference_rows(metric, f"metrics.{place}.differences"),
        sentences=tuple((d.loss, difference_sentence(d)) for d in comparison.differences),
        classes=_classes(metric.classes, f"metrics.{place}"),
        rankings=_rankings(metric, f"metrics.{place}.rankings", name, styles, figures),
    )


def _rankings(
    metric: MetricResult, path: str, name: str, styles: Mapping[str, LossStyle], figures: FigureFolder
) -> RankingViews | None:
    found = metric.rankings
    if found is None:
        return None
    drawn = {
        "rankings": ("Mean ranks (critical difference diagram)", critical_difference_chart(found, styles)),
        "pairs": ("Every pair of losses", pairs_chart(found)),
        "profiles": ("Performance profiles", profiles_chart(found, styles)),
    }
    decimals = decimals_for(each.mean for each in found.losses)
    rows = []
    for n, each in enumerate(found.losses):
        own = f"{path}.losses.{n}"
        rows.append(
            (
                each.loss,
                number_text(each.mean, f"{own}.mean", decimals),
                count_text(each.rank, f"{own}.rank"),
                number_text(each.mean_rank, f"{own}.mean_rank", 2),
                count_text(each.rank_of_ranks, f"{own}.rank_of_ranks"),
                number_text(each.middle, f"{own}.middle", decimals),
                bounds(each.middle_interval, f"{own}.middle_interval", decimals),
            )
        )
    charts = []
    for kind, (caption, figure) in drawn.items():
        svg = figures.save(figure, f"{kind}-{name}")
        charts.append((caption, for_the_page(svg, f"{kind}-{name}", f"{metric.title}: {caption}")))
    return RankingViews(tuple(charts), tuple(rows), number_text(found.tau, f"{path}.tau", 2))


def difference_rows(metric: MetricResult, path: str) -> tuple[DifferenceRow, ...]:
    """The rows of the table of differences; `path` is that of the differences in report.json."""
    differences = metric.comparison.differences
    decimals = decimals_for(d.mean for d in differences)
    return tuple(_difference_row(d, f"{path}.{index}", decimals) for index, d in enumerate(differences))


def _difference_row(d: PairedDifference, path: str, decimals: int) -> DifferenceRow:
    seeds = ", ".join(number(value, decimals, sign=True) for _, value in d.seed_means)
    return DifferenceRow(
        d.loss,
        (
            (_sort_key(d.mean), number_text(d.mean, f"{path}.mean", decimals, sign=True)),
            (
                _sort_key(d.interval.low if d.interval else None),
                bounds(d.interval, f"{path}.interval", decimals, sign=True),
            ),
            (str(d.improved), part_of(d.improved, d.patients, path, "improved", "patients")),
            (
                _sort_key(d.interval_new_training_runs.low if d.interval_new_training_runs else None),
                bounds(d.interval_new_training_runs, f"{path}.interval_new_training_runs", decimals, sign=True),
            ),
            (_sort_key(d.p_holm), "" if d.unanswered else p_value(d.p_holm, f"{path}.p_holm")),
            (d.verdict, d.verdict),
            ("", _chances(d, f"{path}.chances")),
            ("", seeds),
            ("", d.pairing),
        ),
    )


def _chances(d: PairedDifference, path: str) -> Markup:
    """Posterior probabilities of worse, equivalent, better."""
    if d.chances is None:
        return Markup("")
    found = [number_text(getattr(d.chances, name), f"{path}.{name}", 2) for name in ("worse", "equivalent", "better")]
    return Markup(" / ").join(found)


def _sort_key(value: float | None) -> str:
    return "" if value is None else repr(value)


def _classes(classes: Sequence[ClassResult], path: str) -> ClassTable | None:
    if not classes:
        return None
    decimals = decimals_for(each.mean for one in classes for each in one.losses)
    rows = []
    for n, loss in enumerate(each.loss for each in classes[0].losses):
        mean = number_text(mean_over_classes(classes, loss), f"{path}.means_over_classes.{n}", decimals)
        cells = (_class_cell(c.losses[n], f"{path}.classes.{k}.losses.{n}", decimals) for k, c in enumerate(classes))
        rows.append((loss, mean, tuple(cells)))
    return ClassTable(tuple(one.name for one in classes), tuple(rows), weights_in_words(classes))


def _class_cell(each: LossInClass, path: str, decimals: int) -> tuple[NumberText, Markup, Markup]:
    return (
        number_text(each.mean, f"{path}.mean", decimals),
        bounds(each.interval, f"{path}.interval", decimals),
        part_of(each.patients_defined, each.patients, path, "patients_defined", "patients"),
    )
