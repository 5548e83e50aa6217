"""The small charts of the page, one per loss and kind, and the figures of all losses for a paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lesionloss.report.detection_chart import detection_chart
from lesionloss.report.figure_files import FigureFolder, as_svg, file_names, for_the_page
from lesionloss.report.loss_styles import LossStyle
from lesionloss.report.report_content import ReportContent
from lesionloss.report.small_multiples import (
    Painter,
    alone,
    band_panel,
    gradient_panel,
    reliability_panel,
    sheet,
    threshold_panel,
)


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
    trained = [(band.loss, band_panel([band], styles[band.loss], "step")) for band in content.loss_bands]
    kinds = {
        "thresholds": [(x, threshold_panel(curve, styles[x], used)) for x, used, curve in content.thresholds if curve],
        "reliability": [(x, reliability_panel(measured, styles[x])) for x, measured in content.calibration],
        "training": trained,
        "gradients": [
            (card.loss, gradient_panel(card.gradients, styles[card.loss])) for card in content.cards if card.gradients
        ],
    }
    return {kind: _panels(kind, painters, figures) for kind, painters in kinds.items()}


def epoch_panels(
    content: ReportContent, styles: Mapping[str, LossStyle], figures: FigureFolder
) -> dict[str, list[LossPanel]]:
    """Panels over epochs by metric, all losses of a metric on the same scale."""
    charts = {}
    metrics = list(dict.fromkeys(band.metric for band in content.epoch_bands))
    for metric, name in zip(metrics, file_names(metrics), strict=True):
        bands = [band for band in content.epoch_bands if band.metric == metric]
        low, high = min(min(band.low) for band in bands), max(max(band.high) for band in bands)
        room = 0.04 * (high - low) or 0.5
        painters = []
        for loss in dict.fromkeys(band.loss for band in bands):
            mine = [band for band in bands if band.loss == loss]
            painters.append((loss, band_panel(mine, styles[loss], "epoch", (low - room, high + room))))
        charts[metric] = _panels(f"epochs-{name}", painters, figures)
    return charts


def _panels(kind: str, painters: Sequence[tuple[str, Painter]], figures: FigureFolder) -> list[LossPanel]:
    if painters:
        figures.save(sheet(painters), kind)
    return [
        LossPanel(loss, f"{kind}-{place}", for_the_page(as_svg(alone(paint)), f"{kind}-{place}", f"{loss}: {kind}"))
        for place, (loss, paint) in enumerate(painters)
    ]


def save_detection(content: ReportContent, styles: Mapping[str, LossStyle], figures: FigureFolder) -> None:
    """The chart of lesions found by size, for a paper; the page shows its numbers in a table."""
    if any(size.lesions for _, sizes in content.detection for size in sizes):
        figures.save(detection_chart(content.detection, styles), "detection-by-size")
