"""What the template of the page gets: every number as text, with its path in report.json."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from lesionloss.core.number_text import decimals_for, listed, plural
from lesionloss.core.palette import FALSE_NEGATIVE, FALSE_POSITIVE, OUTLINE, REFERENCE, TRUE_POSITIVE, WRONG_CLASS
from lesionloss.core.version import __version__
from lesionloss.report.collected_words import collected_notes
from lesionloss.report.detection_chart import size_words
from lesionloss.report.facts_of_run import run_facts, short_run_facts
from lesionloss.report.history import SPLITS
from lesionloss.report.loss_styles import MARK_SHAPES, LossStyle
from lesionloss.report.main_table import column, loss_rows, usual_patients
from lesionloss.report.number_html import NumberText, bounds, count_text, number_text, part_of
from lesionloss.report.probability_pictures import heat_stops
from lesionloss.report.report_content import MetricResult, ReportContent
from lesionloss.report.shown_intervals import CUT_WORDS
from lesionloss.report.small_multiples import PANEL_INCHES
from lesionloss.report.viewer_volumes import ViewerVolume
from lesionloss.report.wording import INTERVAL_METHOD, TEST_TITLES, VERDICT_METHOD
from lesionloss.runs.results import Results, shared_patients_warning
from lesionloss.runs.trial_manifest import plan_file

FEW_PATIENTS = 6  # below, no test of signs can reach 5 %
COLOURS = {
    "true_positive": TRUE_POSITIVE,
    "false_positive": FALSE_POSITIVE,
    "false_negative": FALSE_NEGATIVE,
    "reference": REFERENCE,
    "wrong_class": WRONG_CLASS,
    "outline": OUTLINE,
}


def page_context(content: ReportContent, styles: Mapping[str, LossStyle]) -> dict[str, object]:
    """The values of the template, without its figures."""
    results, metrics = content.results, content.metrics
    return {
        "name": str(results.plan.get("name", results.folder.name)),
        "question": str(results.plan.get("question", "")),
        "answer": content.answer,
        "notes": content.notes,
        "ordered_metrics": results.ordered_metrics,
        "notices": _notices(content),
        "warnings": _warnings(content),
        "baseline": metrics[0].comparison.baseline if metrics else "",
        "columns": [column(metric) for metric in metrics],
        "rows": loss_rows(metrics, styles),
        "usual_n": usual_patients(metrics) if metrics else (0, 0),
        "variation": _variation(metrics),
        "best_epochs": _best_epochs(content),
        "few": _few_patients(metrics),
        "interval_method": INTERVAL_METHOD,
        "verdict_method": VERDICT_METHOD,
        "failure_words": "Dice < .1" if metrics and metrics[0].scores.metric == "dice" else "empty",
        "cut_words": CUT_WORDS,
        "test": TEST_TITLES[results.declared_test],
        "styles": styles,
        "shapes": MARK_SHAPES,
        "panel_size": [round(72 * inches, 2) for inches in PANEL_INCHES],
        "heat_stops": ",".join(heat_stops()),
        "loss_colours": json.dumps({loss: style.colour for loss, style in styles.items()}),
        "titles": {metric.scores.metric: metric.title for metric in metrics},
        "splits": [SPLITS.get(split, split) for split in dict.fromkeys(band.split for band in content.epoch_bands)],
        "sizes": _sizes(content),
        "cases": _cases(content),
        "several_classes": any(metric.classes for metric in metrics),
        "volumes": [_volume(volume) for volume in content.case_maps.volumes],
        "mosaics": content.case_maps.mosaics,
        "cards": content.cards,
        "differences_of": _differences_of(content),
        "empties": _without_lesions(content, styles),
        "gradient_norms": _gradient_norms(content),
        "failed": results.failed,
        "missing": results.missing,
        "left_out": results.left_out,
        "problems": content.case_maps.problems,
        "only_first_seeds": content.case_maps.seeds_left_out,
        "short": short_run_facts(results),
        "run": run_facts(results),
        "plan": _plan_text(results),
        "plan_title": _plan_title(results),
        "methods": content.methods,
        "sources": content.sources,
        "settings": content.settings,
        "bibtex": content.bibtex,
        "colours": COLOURS,
        "version": __version__,
    }


def _plan_title(results: Results) -> str:
    if results.collected:
        return "What was collected"
    return "The plan, with what was added to it" if results.additions else "The plan, as declared before the run"


def _notices(content: ReportContent) -> list[tuple[str, str, bool]]:
    """The counts at the top of the page: a count, what it counts, and whether it is a problem."""
    results, comparisons = content.results, content.comparisons
    ended, failed, missing = len(results.trials), len(results.failed), len(results.missing)
    if results.collected:
        notices = [(str(ended), f"{'training run' if ended == 1 else 'training runs'} of others", False)]
    else:
        notices = [(f"{ended} of {ended + failed + missing}", "trials ended well", False)]
    if failed:
        notices.append((str(failed), f"{'trial' if failed == 1 else 'trials'} failed", True))
    if missing:
        notices.append((str(missing), f"planned {'trial' if missing == 1 else 'trials'} did not run", True))
    if comparisons:
        summaries, empties = comparisons[0].summaries, comparisons[0].empty_references
        empty, predictions = (sum(getattr(s, what) for s in summaries) for what in ("empty_predictions", "predictions"))
        correct, without = sum(e.correct_empty for e in empties), sum(e.predictions for e in empties)
        notices.append((f"{empty} of {predictions}", "predictions are empty in cases with lesions", empty > 0))
        if without:
            wrong = f"{without - correct} of {without}"
            notices.append((wrong, "predictions have false positives in cases without lesions", False))
    if results.left_out:
        many = len(results.left_out)
        notices.append((str(many), f"{'case' if many == 1 else 'cases'} left out", False))
    return notices


def _gradient_norms(content: ReportContent) -> list[tuple[str, NumberText]]:
    """For each loss, how much the norm of its gradient varies over steps."""
    decimals = decimals_for(norm.variation for norm in content.gradient_norms)
    return [
        (norm.loss, number_text(norm.variation, f"gradient_norms.{place}.variation", decimals))
        for place, norm in enumerate(content.gradient_norms)
    ]


def _warnings(content: ReportContent) -> list[tuple[str, str]]:
    unpaired = dict.fromkeys(warning for comparison in content.comparisons for warning in comparison.warnings)
    shared = shared_patients_warning(content.results.shared_patients)
    found = [("Patients in training and in test.", f"{shared[0].upper()}{shared[1:]}.")] if shared else []
    found += collected_notes(content.results)
    found += [(_title_of(warning), f"{warning}.") for warning in unpaired]
    for loss in dict.fromkeys(each.loss for each in content.vanishing):
        own = [each for each in content.vanishing if each.loss == loss]
        shares = {
            "parameter tensors": max(each.tensors for each in own),
            "lesion voxels": max(each.lesion_voxels for each in own),
        }
        parts = [f"{100 * share:.0f} % of the {what}" for what, share in shares.items() if share > 0]
        runs = plural(len(own), "training run")
        found.append(("Vanishing gradients.", f"{loss}: {runs} ended with up to {listed(parts)} without gradient."))
    return found


def _title_of(warning: str) -> str:
    titles = {
        "paired by patient only": "Not paired.",
        "not proven by training": "Paired by patient.",
        "marked in no test case": "Nothing marked.",
        "added when": "Added after results.",
    }
    return next((title for words, title in titles.items() if words in warning), "Different machines.")


def _variation(metrics: Sequence[MetricResult]) -> list[tuple[str, list[tuple[str, NumberText]]]]:
    """The coefficient of variation of each loss and metric, with its sort key."""
    rows: dict[str, list[tuple[str, NumberText]]] = {}
    for place, metric in enumerate(metrics):
        for index, s in enumerate(metric.comparison.summaries):
            value, path = s.coefficient_of_variation, f"metrics.{place}.summaries.{index}.coefficient_of_variation"
            rows.setdefault(s.loss, []).append(("" if value is None else repr(value), number_text(value, path)))
    return list(rows.items())


def _best_epochs(content: ReportContent) -> dict[str, object] | None:
    """Headings, and for each loss best and last mean of every metric and split that has curves."""
    found = content.best_results
    if not found:
        return None
    places = {(each.loss, each.metric, each.split): n for n, each in enumerate(found)}
    columns = list(dict.fromkeys((each.metric, each.split) for each in found))
    titles = {metric.comparison.metric: metric.axis_title for metric in content.metrics}
    decimals = {
        name: decimals_for(x for each in found if each.metric == name for x in (each.best, each.last))
        for name in titles
    }

    def cell(loss: str, metric: str, split: str) -> tuple[NumberText, NumberText] | None:
        n = places.get((loss, metric, split))
        if n is None:
            return None
        best, last = (getattr(found[n], which) for which in ("best", "last"))
        path = f"best_epochs.{n}"
        return (
            number_text(best, f"{path}.best", decimals[metric]),
            number_text(last, f"{path}.last", decimals[metric]),
        )

    losses = dict.fromkeys(each.loss for each in found)
    return {
        "heads": [(titles[metric], SPLITS.get(split, split)) for metric, split in columns],
        "rows": [(loss, [cell(loss, *column) for column in columns]) for loss in losses],
    }


def _few_patients(metrics: Sequence[MetricResult]) -> int | None:
    """The number of patients, if it is too small for reliable intervals."""
    summaries = metrics[0].comparison.summaries if metrics else ()
    most = max((summary.patients_defined for summary in summaries), default=FEW_PATIENTS)
    return most if most < FEW_PATIENTS else None


def _sizes(content: ReportContent) -> dict[str, object] | None:
    """Lesions found by size: headings, and for each loss share in %, found and all of each size that occurs."""
    used = [n for n in range(4) if any(sizes[n].lesions for _, sizes in content.detection)]
    if not used:
        return None
    table = []
    differences = {(d.loss, d.up_to_mm3): (d, f"size_differences.{n}") for n, d in enumerate(content.size_differences)}
    for place, (loss, sizes) in enumerate(content.detection):
        cells = []
        for n in used:
            text = part_of(sizes[n].found, sizes[n].lesions, f"detection.{place}.sizes.{n}", "found", "lesions")
            d, path = differences.get((loss, sizes[n].up_to_mm3), (None, ""))
            if d is not None and d.mean is not None:
                interval = bounds(d.interval, f"{path}.interval", 2, sign=True)
                minus = number_text(d.mean, f"{path}.mean", 2, sign=True)
                text += Markup("<small>{} {}</small>").format(minus, interval)
            cells.append((100 * sizes[n].found / max(1, sizes[n].lesions), text))
        table.append((loss, cells))
    return {"heads": [size_words(content.detection[0][1][n]) for n in used], "rows": table}


def _cases(content: ReportContent) -> list[dict[str, Any]]:
    embedded = {volume.facts["case"]: n for n, volume in enumerate(content.case_maps.volumes)}
    all_facts = [metric.scores.facts for metric in content.metrics]
    decimals = [decimals_for(row.values[n] for row in content.cases) for n in range(len(all_facts))]
    return [
        {
            "case": row.case,
            "volume": embedded.get(row.case),
            "mm3": (row.reference_mm3, number_text(row.reference_mm3, f"cases.{place}.reference_mm3", 0)),
            "lesions": (row.lesions, count_text(row.lesions, f"cases.{place}.lesions")),
            "values": [
                (
                    "" if value is None else repr(abs(value) if facts.signed else value),
                    number_text(value, f"cases.{place}.values.{facts.name}", digits),
                )
                for facts, value, digits in zip(all_facts, row.values, decimals, strict=True)
            ],
        }
        for place, row in enumerate(content.cases)
    ]


def _volume(volume: ViewerVolume) -> tuple[str, Markup]:
    """Title and JSON of a case; letters that could end a script are written as numbers."""
    text = json.dumps({"facts": volume.facts, "arrays": volume.arrays}, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return str(volume.facts["case"]), Markup(text)


def _differences_of(content: ReportContent) -> dict[str, list[tuple[str, NumberText, Markup, str]]]:
    """For the card of each loss: metric, mean difference, the interval that decides, verdict."""
    found: dict[str, list[tuple[str, NumberText, Markup, str]]] = {}
    for place, metric in enumerate(content.metrics):
        decimals = decimals_for(d.mean for d in metric.comparison.differences)
        for index, d in enumerate(metric.comparison.differences):
            path = f"metrics.{place}.differences.{index}"
            mean = number_text(d.mean, f"{path}.mean", decimals, sign=True)
            name = "interval_new_training_runs"
            interval = bounds(d.interval_new_training_runs, f"{path}.{name}", decimals, sign=True)
            found.setdefault(d.loss, []).append((metric.title, mean, interval, d.verdict))
    return found


def _without_lesions(
    content: ReportContent, styles: Mapping[str, LossStyle]
) -> list[tuple[str, str, object, object, object]]:
    empties = content.comparisons[0].empty_references if content.metrics else ()
    decimals = decimals_for(content.false_positive_mm3.values())
    return [
        (
            empty.loss,
            styles[empty.loss].colour,
            count_text(empty.cases, f"without_lesions.{n}.cases"),
            part_of(empty.correct_empty, empty.predictions, f"without_lesions.{n}", "correct_empty", "predictions"),
            number_text(content.false_positive_mm3[empty.loss], f"without_lesions.{n}.false_positive_mm3", decimals),
        )
        for n, empty in enumerate(empties)
    ]


def _plan_text(results: Results) -> str:
    path = plan_file(results.folder)
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
