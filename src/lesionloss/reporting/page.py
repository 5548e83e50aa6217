"""From results to the text of the page. Numbers are made here, the template only places them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lesionloss import __version__
from lesionloss.bench.results import Results
from lesionloss.bench.values import facts, false_positive_mm3
from lesionloss.reporting.charts import differences_chart, patients_chart
from lesionloss.reporting.drawing import drawing_style, for_the_page, png_data, save_figure
from lesionloss.reporting.facts_of_run import what_was_run
from lesionloss.reporting.main_table import column, rows
from lesionloss.reporting.palette import FALSE_POSITIVE, MISSED, REFERENCE, TRUE_POSITIVE, Style, styles
from lesionloss.reporting.pictures import Tile, case_in_pictures, pictures_figure
from lesionloss.reporting.tables import write_tables
from lesionloss.statistics import Comparison, Difference, compare, declared_test
from lesionloss.wording import (
    INTERVAL_METHOD,
    TEST_TITLES,
    decimals_for,
    headline,
    interval,
    number,
    plural,
    probability,
    unit_text,
)

FEW_PATIENTS = 6  # below, no test of signs can reach 5 %


@dataclass(frozen=True)
class Section:
    """One metric: its two charts and its table of differences."""

    metric: str
    title: str
    unit: str
    patients: Markup
    differences: Markup | None
    rows: tuple[tuple[str, ...], ...]
    sentences: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class PageTile:
    """A tile with its pictures as addresses."""

    name: str
    note: str
    whole: str
    close: str


def render(results: Results) -> str:
    """Write tables and figures into the run folder and give the page. Raises DataError for a damaged run."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    looks = styles(results)
    comparisons = [compare(results, metric) for metric in results.metrics]
    write_tables(results, comparisons, results.folder / "tables")
    with drawing_style():
        sections = _sections(results, comparisons, looks)
        pictures = _pictures(results)
    environment = Environment(
        loader=PackageLoader("lesionloss.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(
        name=str(results.plan.get("name", results.folder.name)),
        question=str(results.plan.get("question", "")),
        headline=_headline(results, comparisons),
        notices=_notices(results, comparisons),
        warnings=list(dict.fromkeys(warning for c in comparisons for warning in c.warnings)),
        baseline=comparisons[0].baseline if comparisons else "",
        columns=[column(comparison) for comparison in comparisons],
        rows=rows(results, comparisons, looks),
        few=_few(comparisons),
        interval_method=INTERVAL_METHOD,
        test=TEST_TITLES[declared_test(results)],
        sections=sections,
        pictures=pictures,
        empties=_empties(results, comparisons, looks),
        failed=results.failed,
        missing=results.missing,
        left_out=results.left_out,
        run=what_was_run(results),
        colours={"found": TRUE_POSITIVE, "false": FALSE_POSITIVE, "missed": MISSED, "reference": REFERENCE},
        version=__version__,
    )


def _headline(results: Results, comparisons: Sequence[Comparison]) -> tuple[str, str]:
    if not comparisons:
        return (
            "No trial has ended well: there is nothing to compare yet.",
            f"{plural(len(results.failed), 'trial')} failed and {plural(len(results.missing), 'trial')} did not run.",
        )
    return headline(comparisons[0], primary=comparisons[0].metric == results.primary_metric)


def _notices(results: Results, comparisons: Sequence[Comparison]) -> list[tuple[str, str, bool]]:
    """What can't be missed: a count, what it counts, and whether it is a reason to worry."""
    ended, failed, missing = len(results.trials), len(results.failed), len(results.missing)
    shown = [
        (f"{ended} of {ended + failed + missing}", "trials ended well", False),
        (str(failed), f"{'trial' if failed == 1 else 'trials'} failed", failed > 0),
        (str(missing), f"planned {'trial' if missing == 1 else 'trials'} did not run", missing > 0),
    ]
    if comparisons:
        summaries, empties = comparisons[0].summaries, comparisons[0].empty_references
        misses, predictions = sum(s.misses for s in summaries), sum(s.predictions for s in summaries)
        correct, without = sum(e.correct_empty for e in empties), sum(e.predictions for e in empties)
        shown.append((f"{misses} of {predictions}", "predictions empty where there are lesions", misses > 0))
        if without:
            alarms = f"{without - correct} of {without}"
            shown.append((alarms, "predictions with false alarms where there are no lesions", False))
    if results.left_out:
        shown.append(
            (str(len(results.left_out)), f"{'case' if len(results.left_out) == 1 else 'cases'} left out", False)
        )
    return shown


def _few(comparisons: Sequence[Comparison]) -> int | None:
    """The number of patients where it is too small for the intervals to be trusted."""
    most = max((s.patients_defined for c in comparisons[:1] for s in c.summaries), default=FEW_PATIENTS)
    return most if most < FEW_PATIENTS else None


def _sections(results: Results, comparisons: Sequence[Comparison], looks: Mapping[str, Style]) -> list[Section]:
    folder = results.folder / "figures"
    names = _file_names([comparison.metric for comparison in comparisons])
    sections = []
    for comparison, name in zip(comparisons, names, strict=True):
        title, unit = facts(comparison.metric).title, unit_text(comparison.unit)
        patients = save_figure(patients_chart(results, comparison, looks), folder, f"patients-{name}")
        differences = None
        if any(difference.patients for difference in comparison.differences):
            svg = save_figure(differences_chart(results, comparison, looks), folder, f"differences-{name}")
            differences = for_the_page(svg, f"d-{name}", f"{title}: paired differences from {comparison.baseline}")
        sections.append(
            Section(
                metric=comparison.metric,
                title=title,
                unit=unit,
                patients=for_the_page(patients, f"p-{name}", f"{title}: values of the patients"),
                differences=differences,
                rows=_difference_rows(comparison),
                sentences=tuple((d.loss, d.sentence) for d in comparison.differences),
            )
        )
    return sections


def _difference_rows(comparison: Comparison) -> tuple[tuple[str, ...], ...]:
    decimals = decimals_for(d.mean for d in comparison.differences)
    return tuple(_difference_row(d, decimals) for d in comparison.differences)


def _difference_row(difference: Difference, decimals: int) -> tuple[str, ...]:
    seeds = ", ".join(number(value, decimals, sign=True) for _, value in difference.seed_means)
    return (
        difference.loss,
        number(difference.mean, decimals, sign=True),
        interval(difference.interval, decimals, sign=True),
        f"{difference.improved} of {difference.patients}",
        probability(difference.p_holm),
        seeds,
        difference.pairing,
    )


def _pictures(results: Results) -> dict[str, object] | None:
    """The median case in the primary metric, or in the first one where that was not scored."""
    if not results.metrics:
        return None
    made = case_in_pictures(results, results.metrics[0])
    if made is None:
        return None
    save_figure(pictures_figure(made), results.folder / "figures", "case")
    return {
        "case": made.case,
        "slice": made.slice_number,
        "metric": facts(results.metrics[0]).title,
        "groups": [[_page_tile(tile) for tile in group] for group in (made.visits, made.losses)],
    }


def _page_tile(tile: Tile) -> PageTile:
    whole, close = ("" if pixels is None else png_data(pixels) for pixels in (tile.whole, tile.close))
    return PageTile(tile.name, tile.note, whole, close)


def _empties(
    results: Results, comparisons: Sequence[Comparison], looks: Mapping[str, Style]
) -> list[tuple[str, str, str, str, str]]:
    if not comparisons:
        return []
    volumes = {empty.loss: false_positive_mm3(results, empty.loss) for empty in comparisons[0].empty_references}
    decimals = decimals_for(volumes.values())
    return [
        (
            empty.loss,
            looks[empty.loss].colour,
            plural(empty.cases, "case"),
            f"{empty.correct_empty} of {empty.predictions}",
            number(volumes[empty.loss], decimals),
        )
        for empty in comparisons[0].empty_references
    ]


def _file_names(metrics: Sequence[str]) -> list[str]:
    """Names that are safe for files, one per metric."""
    names: list[str] = []
    for metric in metrics:
        plain = re.sub(r"[^A-Za-z0-9]+", "-", metric).strip("-") or "metric"
        names.append(plain if plain not in names else f"{plain}-{len(names)}")
    return names
