"""The sentences on methods say what was done, and nothing that was not."""

from dataclasses import replace

import pytest

import lesionloss as ll
from lesionloss.report.methods import in_sentence, methods
from lesionloss.runs.results import Results
from make_run import Made, make_run

WHOLE = {"preparation": {"steps": ["brain", "resample", "subtract"], "brain": {"source": "whole"}}}
MASKED = {"preparation": {"steps": ["brain", "resample"], "brain": {"source": "auto"}}}


def made(tmp_path, metrics=("dice", "lesion_f1", "brier")) -> Results:
    return ll.load(make_run(tmp_path / "run", Made(patients=4, losses=("dice_ce", "hytver"), metrics=metrics)))


def text_of(results: Results) -> str:
    return " ".join(methods(results, (), paired=True))


def test_metrics_are_named_as_in_a_sentence(tmp_path):
    text = text_of(made(tmp_path))
    assert "The metrics were Dice, lesion-wise F1 and Brier score; the primary metric, Dice, was declared" in text
    titles = ("Expected calibration error", "Dice", "AUPRC", "95 % Hausdorff distance", "Lesion-wise F1", "F1")
    assert [in_sentence(title) for title in titles] == [
        "expected calibration error",
        "Dice",
        "AUPRC",
        "95 % Hausdorff distance",
        "lesion-wise F1",
        "F1",
    ]


def test_distances_are_explained_only_where_there_are_any(tmp_path):
    assert "In distances" not in text_of(made(tmp_path / "without"))
    assert "In distances" in text_of(made(tmp_path / "with", ("dice", "hd95")))


def test_images_without_a_brain_were_not_masked_by_it(tmp_path, monkeypatch: pytest.MonkeyPatch):
    results = made(tmp_path)
    monkeypatch.setattr("lesionloss.report.run_settings.read_json", lambda path: WHOLE)
    assert "The images were resampled." in text_of(results)
    monkeypatch.setattr("lesionloss.report.run_settings.read_json", lambda path: MASKED)
    assert "The images were masked by the brain and resampled." in text_of(results)


def test_pictures_have_pixels_of_no_known_size(tmp_path):
    results = made(tmp_path)
    assert "The voxels measured" in text_of(results)
    flat = replace(
        results, cohort=tuple(replace(case, shape=(48, 56), spacing_mm=(2.0, 2.0)) for case in results.cohort)
    )
    assert "A pixel counted as 2 × 2 mm." in text_of(flat)
