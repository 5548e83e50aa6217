"""Runs of pictures and of several classes get the same page."""

import csv
import json
import re
from dataclasses import replace

import numpy as np

import lesionloss as ll
from lesionloss.data.prepared import load_prepared, save_prepared
from lesionloss.report.case_views import views_of
from make_run import TINY_CASES, Made, make_run, seal_run

PLANE = 4


def flattened(folder):
    """The run with one plane of every array, as prepared pictures are: one contrast, two axes; two classes."""
    for path in (folder / "cohort").glob("*.npz"):
        case = load_prepared(path)
        picture = replace(
            case,
            image=case.image[1:2, ..., PLANE],
            channels=("grey",),
            reference=case.reference[..., PLANE],
            brain=case.brain[..., PLANE],
            offset=case.offset[:2],
            original_shape=case.original_shape[:2],
            classes=("core", "rim"),
        )
        save_prepared(picture, path)
    for path in (folder / "trials").glob("*/predictions/*.npz"):
        with np.load(path) as stored:
            plane = stored["probability"][..., PLANE]
        np.savez_compressed(path, probability=plane, classes=(plane >= 0.5).astype(np.uint8))
    index = json.loads((folder / "cohort" / "index.json").read_text())
    for entry in index["cases"]:
        entry["shape"], entry["spacing_mm"] = entry["shape"][:2], entry["spacing_mm"][:2]
    (folder / "cohort" / "index.json").write_text(json.dumps(index))
    for path in (folder / "trials").glob("*/scores.csv"):
        rows = list(csv.DictReader(path.open()))
        rows += [row | {"lesion": name} for row in rows if row["metric"] == "dice" for name in ("core", "rim")]
        with path.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    return seal_run(folder)


def test_pictures_of_two_classes_get_the_same_page(tmp_path):
    made = Made(
        patients=3,
        losses=("dice_ce", "dice"),
        difference=False,
        seeds=(1,),
        metrics=("dice",),
        **TINY_CASES,
        folds=3,
    )
    folder = flattened(make_run(tmp_path / "run", made))
    results = ll.load(folder)
    views = views_of(results, "patient00")
    assert views.flat
    assert views.counted.shape == (1, 24, 20)  # rows are the second axis of a picture
    assert views.spacing_mm == (1.0, 4.0, 4.0)
    ll.write_report(results, formats=())
    record = json.loads((folder / "report.json").read_text())
    means = {entry["loss"]: entry["mean"] for entry in record["metrics"][0]["summaries"]}
    classes = record["metrics"][0]["classes"]
    assert [entry["name"] for entry in classes] == ["core", "rim"]
    for entry in classes:
        assert {loss["loss"]: loss["mean"] for loss in entry["losses"]} == means
    assert "All cases as small pictures" in (folder / "report.html").read_text()
    rows = list(csv.DictReader((folder / "tables" / "classes.csv").open()))
    assert [(row["class"], row["loss"], float(row["mean"])) for row in rows] == [
        (entry["name"], loss["loss"], loss["mean"]) for entry in classes for loss in entry["losses"]
    ]
    assert "Dice & core & " in (folder / "tables" / "classes.tex").read_text()
    page = (folder / "report.html").read_text()
    assert '<table class="classes">' in page
    assert '"flat":true' in page
    assert re.search(r'alt="dice_ce, picture"', page)
    assert record["problems"] == []
