"""2-D images and several classes through bench, compare and report."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionloss import UsageError, write_report
from lesionloss.bench.plan import Plan
from lesionloss.bench.run import run
from lesionloss.bench.run_cohort import read_run_cohort
from lesionloss.bench.trials import check_fit, trials_of
from lesionloss.core.slice_pictures import fullest_slice, upright
from lesionloss.data.prepared import load_prepared
from lesionloss.metrics.several_classes import class_cases, mdice
from lesionloss.report.class_means import mean_over_classes
from lesionloss.report.latex_tables import classes_latex
from lesionloss.report.report_content import collect_content, metric_results
from lesionloss.runs.load_run import load
from lesionloss.statistics import compare
from lesionloss.synth.shapes import CLASSES, ShapesSettings, draw_shapes
from lesionloss.training.trial import recipe_record
from tiny_runs import trial_folders

TRAINING = {"steps": 4, "batch": 2, "jitter": 2, "precision": "float32", "learning_rate": 1e-2}


def plan_of(name: str, data: dict, network: str, training: dict, **changes: object) -> Plan:
    record = {
        "name": name,
        "losses": ["dice", "cross_entropy"],
        "baseline_loss": "dice",
        "metrics": ["dice", "hd95", "nll", "brier"],
        "folds": 2,
        "seeds": [1],
        "data": {"source": "shapes", "synth_patients": 4, **data},
        "network": {"text": network},
        "training": TRAINING | training,
    }
    return Plan.model_validate(record | changes)


def volumes(**changes: object) -> Plan:
    return plan_of(
        "volumes",
        {"shapes_axes": 3, "shapes_side": 24, "shapes_classes": 2},
        "plain_unet(inputs=2, outputs=3, filters=4, levels=3)",
        {"patch": [24, 24, 1], "augment": ["flip(axes=(0, 1))"], "steps": 30, "batch": 8},
    ).changed(changes)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("classes") / "run"
    run(volumes(), out)
    return out


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pictures") / "run"
    plan = plan_of(
        "pictures",
        {"shapes_side": 32},
        "unet2d(filters=4, levels=3, outputs=2)",
        {"patch": [32, 32], "sampler": "whole", "augment": ["dscpp"]},
        curves={"every_epochs": 2},
    )
    run(plan, out)
    return out


def test_every_class_has_rows_and_the_headline_is_their_mean(classes: Path) -> None:
    for folder in trial_folders(classes):
        table = pd.read_csv(folder / "scores.csv")
        assert set(table["lesion"].fillna("")) == {"", "disc", "ring"}
        for case, rows in table[table["metric"] == "dice"].groupby("case"):
            with np.load(folder / "predictions" / f"{case}.npz") as stored:
                labels, probability, in_slice = stored["classes"], stored["probability"], stored["slice"]
            prepared = load_prepared(classes / "cohort" / f"{case}.npz")
            plane = fullest_slice(upright(prepared.lesion, prepared.affine))
            shown = upright(probability, prepared.affine)[plane]
            assert in_slice.dtype == np.float32
            assert np.allclose(in_slice.sum(axis=0).clip(0, 1), shown, atol=0.002)  # below .001 they are 0
            assert np.array_equal(
                np.where(shown >= 0.5, in_slice.argmax(0) + 1, 0), upright(labels, prepared.affine)[plane]
            )
            assert labels.shape == probability.shape == prepared.shape
            judged = class_cases(labels, prepared.reference, spacing_mm=prepared.spacing_mm, classes=(1, 2))
            by_class = rows.set_index(rows["lesion"].fillna(""))["value"]
            assert by_class[""] == pytest.approx(mdice(judged).value)
            discs = int((labels == 1).sum()) + int((prepared.reference == 1).sum())
            assert by_class["disc"] == pytest.approx(2 * judged[1].counts.tp / discs)
            kept = load(classes).classes(folder.name, str(case))
            assert kept is not None
            assert np.array_equal(kept, labels)


def test_several_classes_are_compared_and_reported(classes: Path, tmp_path: Path) -> None:
    results = load(classes)
    comparison = compare(results, "dice")
    assert comparison.differences[0].patients == 4
    assert comparison.differences[0].pairing == "training run"
    assert (comparison.summaries[0].mean or 0) > 0
    table = collect_content(results, 1).metrics[0].classes
    assert [each.name for each in table] == ["disc", "ring"]
    page = write_report(results, tmp_path / "page.html", formats=()).read_text()
    assert "ring" in page
    figures = tmp_path / "page_files" / "figures"
    assert "wrong class" in (figures / "case-classes.svg").read_text()
    assert all((figures / f"{name}.svg").exists() for name in ("case-left-out", "case-hardest", "case-hardest-curves"))


def test_pictures_are_scored_compared_and_gathered_for_the_report(pictures: Path) -> None:
    results = load(pictures)
    assert results.failed == ()
    assert all(len(case.shape) == 2 for case in results.cohort)
    for metric in ("dice", "nll", "brier"):
        summary = compare(results, metric).summaries[0]
        assert summary.patients_defined == 4
        assert summary.mean is not None
        assert np.isfinite(summary.mean)
    scores = results.scores
    assert set(scores["split"]) == {"test", "train_images", "train_patches"}
    assert len(collect_content(results, 1).case_maps.volumes) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"network": "plain_unet(inputs=2, outputs=4, filters=4, levels=3)"},
            r"gives 4 maps, the data have 2 classes; say outputs=3",
        ),
        (
            {"network": "plain_unet(inputs=5, outputs=3, filters=4, levels=3)"},
            r"takes 5 channels, the data have 2 \(contrast1, contrast2\); say inputs=2",
        ),
        (
            {"training": TRAINING | {"patch": [24, 24]}, "inference": {"window": [24, 24]}},
            r"training.patch: \[24, 24\] has 2 numbers, the images have 3 axes; give 3, or \[x, y, 1\]",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_said_before_anything_is_trained(
    changes: dict, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        run(volumes(**changes), tmp_path / "run")
    assert not (tmp_path / "run" / "trials").exists()


def test_shapes_are_rare_and_depend_on_their_seed_alone(tmp_path: Path) -> None:
    settings = ShapesSettings(3, 32, 3)
    image, labels = draw_shapes(1, 0, settings)
    again, same = draw_shapes(1, 0, settings)
    assert np.array_equal(image, again)
    assert np.array_equal(labels, same)
    assert not np.array_equal(image, draw_shapes(2, 0, settings)[0])
    shares = [float((draw_shapes(1, index, settings)[1] > 0).mean()) for index in range(8)]
    assert 0.001 < np.mean(shares) < 0.06
    assert set(np.unique(labels)) <= set(range(len(CLASSES) + 1))
    with pytest.raises(UsageError, match="pictures have one class"):
        plan = plan_of("x", {"shapes_classes": 2}, "unet2d(filters=4)", {"patch": [32, 32]})
        run(plan, tmp_path / "run")


def test_class_weights_change_the_mean_over_classes_and_nothing_else(classes: Path, tmp_path: Path) -> None:
    plan = Plan.load(classes / "plan.toml")
    weighted = plan.changed(
        {"class_weights": {"ring": 3}, "losses": ("dice",), "training": plan.training.model_dump() | {"steps": 2}}
    )
    out = tmp_path / "weighted"
    results = run(weighted, out)
    rows = pd.concat(pd.read_csv(folder / "scores.csv") for folder in trial_folders(out))
    dice = rows[rows["metric"] == "dice"].assign(lesion=lambda t: t["lesion"].fillna("whole"))
    by_class = dice.pivot(index=["case", "fold", "seed"], columns="lesion", values="value")
    both = by_class.dropna()
    assert len(both)
    assert np.allclose(both["whole"], (both["disc"] + 3 * both["ring"]) / 4)
    metric = metric_results(results)[0]
    means = [each.losses[0].mean for each in metric.classes]
    assert mean_over_classes(metric.classes, "dice") == pytest.approx((means[0] + 3 * means[1]) / 4)
    assert "means are over the classes, with the weights disc 1, ring 3" in classes_latex([metric])
    before = trials_of(plan, read_run_cohort(classes), "cpu")[0]
    assert "class_weights" not in recipe_record(before.recipe)
    for weights, words in (
        ({"rings": 1}, "no class is named rings; classes: disc, ring"),
        ({"disc": 0, "ring": 0}, "all classes have the weight 0"),
    ):
        with pytest.raises(UsageError, match=f"class_weights: {words}"):
            check_fit(plan.changed({"class_weights": weights}), ("a", "b"), ("disc", "ring"), 3)
