"""The report agrees with the scores at any threshold: it decides lesion on the float map, in the viewer too."""

import base64
import csv
import json
import zlib

import numpy as np
import pytest

import lesionloss as ll
from lesionloss.core.randomness import numpy_generator
from lesionloss.metrics.thresholds import count_thresholds
from lesionloss.report.probability_maps import count_map, lesions_of
from lesionloss.report.viewer_volumes import SLIDER_THRESHOLDS, loss_levels, viewer_thresholds
from lesionloss.runs.run_records import RunTrial
from make_run import TINY_CASES, Made, make_run

BESIDE = np.nextafter(np.float32(0.25), np.float32(0))


def trial(folder, threshold):
    return RunTrial("key", "dice", "network", 0, 1, folder, {"threshold": threshold})


@pytest.mark.parametrize(
    ("value", "threshold", "lesion"),
    [(0.2495, 0.25, False), (0.25, 0.25, True), (BESIDE, 0.25, False), (0.3, 0.3, True), (0.123, 0.1234, False)],
)
def test_the_viewer_shows_the_mask_that_was_scored(tmp_path, value, threshold, lesion):
    thresholds = viewer_thresholds([threshold])
    levels = loss_levels(
        trial(tmp_path, threshold), np.full((1, 2, 2), value, dtype=np.float32), thresholds, None, probable=True
    )
    assert (levels.levels > thresholds.index(threshold)).all() == lesion


def test_the_viewer_shows_the_mask_of_a_random_map_at_every_threshold(tmp_path):
    draw = numpy_generator("random map")
    on_the_grid = draw.choice(np.array(SLIDER_THRESHOLDS), size=500)
    probability = np.concatenate([draw.uniform(size=1500), on_the_grid]).astype(np.float32).reshape(10, 20, 10)
    thresholds = viewer_thresholds([0.123, 0.5])
    levels = loss_levels(trial(tmp_path, 0.123), probability, thresholds, None, probable=True).levels
    assert len(thresholds) == len(SLIDER_THRESHOLDS) + 1
    for place, threshold in enumerate(thresholds):
        assert ((levels > place) == (probability >= np.float32(threshold))).all()


def test_counts_of_a_random_map_are_those_of_the_metrics(tmp_path):
    draw = numpy_generator("counted map")
    probability = draw.choice(np.array(SLIDER_THRESHOLDS), size=(6, 10, 10)).astype(np.float32)
    counted = draw.integers(0, 3, size=probability.shape).astype(np.uint8)
    lesions = lesions_of(counted == 1, (2.0, 2.0, 2.0))
    found = count_map(trial(tmp_path, 0.5), "case", probability, counted, lesions).over_thresholds
    expected = count_thresholds(probability, counted == 1, found.thresholds, ignore=counted == 2)
    for name in ("tp", "fp", "fn"):
        assert (getattr(found, name) == getattr(expected, name)).all()


def test_the_report_of_a_run_at_an_odd_threshold_counts_as_its_scores(tmp_path):
    """Volumes of predicted voxels in cases without lesions, and Dice from the levels of the viewer."""
    made = Made(
        patients=3,
        losses=("dice_ce", "dice"),
        seeds=(1,),
        folds=3,
        difference=False,
        without_lesions=(2,),
        threshold=0.2495,
        metrics=("dice",),
        **TINY_CASES,
    )
    folder = make_run(tmp_path / "run", made)
    ll.write_report(ll.load(folder), volumes="all", formats=())
    record = json.loads((folder / "report.json").read_text())
    results = ll.load(folder)
    for entry in record["without_lesions"]:
        key = next(t.key for t in results.trials if t.loss == entry["loss"] and t.tested("patient02"))
        voxels = int((results.probability(key, "patient02") >= np.float32(0.2495)).sum())
        assert entry["false_positive_mm3"] == pytest.approx(voxels * 4 * 4 * 6)
    values = {
        (row["loss"], row["case"]): row["value"] for row in csv.DictReader((folder / "tables" / "values.csv").open())
    }
    shown = shown_dice((folder / "report.html").read_text())
    assert shown.keys() == values.keys()
    for which, value in shown.items():
        assert value == pytest.approx(float(values[which]))


def shown_dice(page):
    """Dice of each loss and case with lesions, counted from the arrays in the page at the threshold of the scores."""
    found = {}
    for text in page.split('<script type="application/json" class="case"')[1:]:
        volume = json.loads(text[text.index(">") + 1 : text.index("</script>")])
        facts = volume["facts"]
        labels = unpacked(volume["arrays"]["labels"])
        for number, loss in enumerate(facts["losses"]):
            mask = unpacked(volume["arrays"][f"map{number}"]) > facts["thresholds"].index(loss["threshold"])
            if labels.any():
                total = int(mask.sum() + (labels > 0).sum())
                found[loss["loss"], facts["case"]] = 2 * int((mask & (labels > 0)).sum()) / total
    return found


def unpacked(text):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=np.uint8)
