"""The top of the page below the verdict: the forest plot of the first metric, and the same in numbers."""

from collections.abc import Mapping
from dataclasses import dataclass

from markupsafe import Markup

from lesionloss.report.figure_files import FigureFolder, as_svg, file_names, for_the_page
from lesionloss.report.forest_chart import NARROW, forest_chart, forest_words
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.metric_sections import DifferenceRow, difference_rows
from lesionloss.report.report_content import ReportContent


@dataclass(frozen=True)
class ForestPlot:
    """The plot in two shapes, of which the page shows the one that fits, and the rows of its table."""

    wide: Markup
    narrow: Markup
    rows: tuple[DifferenceRow, ...]


def forest_plot(content: ReportContent, styles: Mapping[str, LossStyle], figures: FigureFolder) -> ForestPlot | None:
    """The plot of the first metric, saved as a figure; None where no loss can be compared with the baseline."""
    if not content.metrics or not any(d.patients for d in content.metrics[0].comparison.differences):
        return None
    metric = content.metrics[0]
    comparison, name = metric.comparison, file_names([metric.comparison.metric])[0]
    title, words = f"{metric.title}: differences from {comparison.baseline}", forest_words(comparison)
    saved = figures.save(forest_chart(comparison, styles), f"forest-{name}")
    narrow = as_svg(forest_chart(comparison, styles, NARROW))
    return ForestPlot(
        for_the_page(saved, "forest", title, words),
        for_the_page(narrow, "forest-narrow", title, words),
        difference_rows(metric, "metrics.0.differences"),
    )
