"""The small charts of the page, one per loss and kind, and the figures of all losses for a paper."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lesionloss.report.detection_chart import detection_chart
from lesionloss.report.epoch_charts import epochs_chart, training_runs_chart
from lesionloss.report.figure_files import FigureFolder, as_svg, file_names, for_the_page
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.report_content import ReportContent
from lesionloss.report.small_multiples import (
    GRADIENT_KEYS,
    LOSS_KEYS,
    RELIABILITY_KEYS,
    THRESHOLD_KEYS,
    LegendKey,
    Painter,
    alone,
    band_panel,
    gradient_panel,
    reliability_panel,
    sheet,
    split_keys,
    threshold_panel,
)

FEWEST_RUNS = 3  # training runs of a loss, for a chart of single runs


@dataclass(frozen=True)
class LossPanel:
    """A small chart of one loss; `name`: its id in the page."""

    loss: str
    name: str
    chart: Markup


def loss_panels(
    content: ReportContent, styles: Mapping[str, LossStyle], figures: FigureFolder
) -> dict[str, list[LossPanel]]:
    """Panels by kind: thresholds, reliability, training, gradients; each kind is also saved as one sheet."""
    trained = [(band.loss, band_panel([band], styles[band.loss], "step", "loss")) for band in content.loss_bands]
    kinds = {
        "thresholds": [(x, threshold_panel(curve, styles[x], used)) for x, used, curve in content.thresholds if curve],
        "reliability": [(x, reliability_panel(measured, styles[x])) for x, measured in content.calibration],
        "training": trained,
        "gradients": [
            (card.loss, gradient_panel(card.gradients, styles[card.loss])) for card in content.cards if card.gradients
        ],
    }
    keys = {
        "thresholds": THRESHOLD_KEYS,
        "reliability": RELIABILITY_KEYS,
        "training": LOSS_KEYS,
        "gradients": GRADIENT_KEYS,
    }
    return {kind: _panels(kind, painters, keys[kind], figures) for kind, painters in kinds.items()}


def epoch_panels(
    content: ReportContent, styles: Mapping[str, LossStyle], figures: FigureFolder
) -> dict[str, list[LossPanel]]:
    """Panels over epochs by metric, all losses of a metric on the same scale."""
    charts = {}
    titles = {metric.comparison.metric: metric.axis_title for metric in content.metrics}
    metrics = list(dict.fromkeys(band.metric for band in content.epoch_bands))
    for metric, name in zip(metrics, file_names(metrics), strict=True):
        bands = [band for band in content.epoch_bands if band.metric == metric]
        low, high = min(min(band.low) for band in bands), max(max(band.high) for band in bands)
        room = 0.04 * (high - low) or 0.5
        label = titles[metric]
        painters = []
        for loss in dict.fromkeys(band.loss for band in bands):
            mine = [band for band in bands if band.loss == loss]
            painters.append((loss, band_panel(mine, styles[loss], "epoch", label, (low - room, high + room))))
        keys = split_keys(list(dict.fromkeys(band.split for band in bands)))
        charts[metric] = _panels(f"epochs-{name}", painters, keys, figures)
    return charts


@dataclass(frozen=True)
class EpochCharts:
    """Charts of one metric with all losses in a panel: by split, by split and fold, and of single training runs."""

    splits: Markup | None = None
    folds: Markup | None = None
    training_runs: Markup | None = None


def epoch_charts(
    content: ReportContent, styles: Mapping[str, LossStyle], figures: FigureFolder
) -> dict[str, EpochCharts]:
    """The charts by metric; those without numbers in this run are None."""
    names = file_names([metric.comparison.metric for metric in content.metrics])
    charts = {}
    for metric, name in zip(content.metrics, names, strict=True):
        which, title = metric.comparison.metric, metric.axis_title
        bands, folds = ([b for b in of if b.metric == which] for of in (content.epoch_bands, content.fold_bands))
        runs = [run for run in content.training_runs if run.metric == which]
        several = any(count >= FEWEST_RUNS for count in Counter((run.split, run.loss) for run in runs).values())
        drawn = {
            f"epochs-by-split-{name}": epochs_chart(bands, styles, title) if bands else None,
            f"epochs-by-fold-{name}": epochs_chart(folds, styles, title) if folds else None,
            f"training-runs-{name}": training_runs_chart(runs, styles, title) if several else None,
        }
        charts[which] = EpochCharts(
            *(
                for_the_page(figures.save(figure, file), file, f"{title}: {file}") if figure is not None else None
                for file, figure in drawn.items()
            )
        )
    return charts


def _panels(
    kind: str, painters: Sequence[tuple[str, Painter]], keys: Sequence[LegendKey], figures: FigureFolder
) -> list[LossPanel]:
    if painters:
        figures.save(sheet(painters, keys), kind)
    return [
        LossPanel(loss, f"{kind}-{place}", for_the_page(as_svg(alone(paint)), f"{kind}-{place}", f"{loss}: {kind}"))
        for place, (loss, paint) in enumerate(painters)
    ]


def save_detection(content: ReportContent, styles: Mapping[str, LossStyle], figures: FigureFolder) -> None:
    """The chart of lesions found by size, for a paper; the page shows its numbers in a table."""
    if any(size.lesions for _, sizes in content.detection for size in sizes):
        figures.save(detection_chart(content.detection, styles), "detection-by-size")
