"""The presets of the papers: what they declare, and that their small forms run, learn and end in a comparison."""

import math
from pathlib import Path

import pytest

from lesionloss.bench.plan import Plan, list_presets
from lesionloss.bench.run import run
from lesionloss.networks import blank_network, network_channels
from lesionloss.report.history import epoch_bands
from lesionloss.runs.load_run import load
from lesionloss.runs.scores import LAST_EPOCH
from lesionloss.statistics import compare
from miniature import WRITERS, mask, picture

PAPERS = (
    *("hytver", "cabezas-lit", "cabezas-wmh"),
    *("dscpp-drive", "dscpp-bus2017", "dscpp-dsb2018", "dscpp-isic2018", "dscpp-cvc"),
    *("topk-synapse", "topk-acdc", "topk-msseg2016"),
)
LEARNED = 0.12  # mean Dice of the best loss; an untrained network predicts nothing and has 0


def test_there_is_a_preset_for_each_experiment_and_a_small_form_of_each() -> None:
    assert set(list_presets()) >= {*PAPERS, *(f"{name}-small" for name in PAPERS)}


@pytest.mark.parametrize("name", PAPERS)
def test_a_small_form_has_the_recipe_of_its_paper(name: str) -> None:
    whole, small = Plan.preset(name), Plan.preset(f"{name}-small")
    assert whole.data.source == ""  # it waits for --data
    assert small.data.source in ("synth", "shapes")  # it needs nothing
    assert whole.network.text.partition("(")[0] == small.network.text.partition("(")[0]
    for key in ("optimiser", "consistency_from", "validation_share", "deep_weights", "foreground_share"):
        values = [getattr(plan.training, key) for plan in (whole, small)]
        assert bool(values[0]) == bool(values[1]), key
    assert small.training.optimiser == whole.training.optimiser
    assert small.training.schedule.partition("(")[0] == whole.training.schedule.partition("(")[0]
    assert small.training.sampler.partition("(")[0] == whole.training.sampler.partition("(")[0]
    assert set(small.losses) <= set(whole.losses)
    assert small.metrics == whole.metrics
    assert bool(small.curves.every_epochs) == bool(whole.curves.every_epochs)


def test_the_recipes_are_those_of_the_papers() -> None:
    hytver, cabezas, dscpp, topk = (Plan.preset(name) for name in ("hytver", "cabezas-lit", "dscpp-drive", "topk-acdc"))
    t = hytver.training
    assert (t.optimiser, t.learning_rate, t.batch, t.patch, t.steps) == ("adam", 1e-3, 4, (80, 80, 80), 250)
    assert len(hytver.losses) == 13
    assert {"dice", "jaccard", "hd95", "assd", "precision", "lesion_f1"} <= set(hytver.metrics)
    t = cabezas.training
    assert (t.patch, t.batch, t.epochs, cabezas.folds, len(cabezas.seeds)) == ((32, 32, 32), 16, 25, 5, 5)
    assert len(cabezas.losses) == len(Plan.preset("cabezas-wmh").losses) == 7
    parameters = sum(parameter.numel() for parameter in blank_network(cabezas.network.text).parameters())
    assert parameters == 2_906_913  # as the paper prints
    curves = cabezas.curves
    assert (curves.every_epochs, curves.metrics) == (1, ("dice", "recall", "precision"))
    t = dscpp.training
    assert (t.learning_rate, t.batch, t.patience, t.validation_share, t.check_every) == (0.1, 1, 50, 0.2, 0)
    assert t.optimiser.startswith("sgd")
    assert t.schedule.startswith("plateau")
    assert {"nll", "brier"} <= set(dscpp.metrics)
    for family in ("tversky", "focal_tversky", "combo"):
        assert {family, f"{family}_plus_plus"} <= set(dscpp.losses)
    assert sum(loss.startswith("dice_plus_plus") for loss in dscpp.losses) == 9
    t = topk.training
    assert (t.optimiser, t.learning_rate, t.schedule, len(topk.losses)) == ("adam", 5e-4, "polynomial", 5)
    assert {name: network_channels(Plan.preset(f"topk-{name}").network.text) for name in ("synapse", "acdc")} == {
        "synapse": (1, 9),
        "acdc": (1, 4),
    }


def test_dscpp_and_cabezas_have_what_their_papers_print() -> None:
    drive, lit = Plan.preset("dscpp-drive"), Plan.preset("cabezas-lit")
    grid = [f"dice_plus_plus(gamma={gamma:g})" for gamma in (0.5, 1.5, 2.5, 3, 3.5, 4, 4.5, 5)]
    unified = [f"asymmetric_unified_focal{form}(gamma=0.1)" for form in ("", "_plus_plus")]
    assert {*grid, "dice", "dice_plus_plus", "cross_entropy", *unified} <= set(drive.losses)  # dice: gamma = 1
    assert len(drive.losses) == 19
    for name in ("dscpp-bus2017", "dscpp-dsb2018", "dscpp-isic2018", "dscpp-cvc"):
        assert Plan.preset(name).losses == ("dice", "cross_entropy", "dice_plus_plus")
    prepare = drive.data.preparation
    assert (prepare.resample.interpolation, prepare.brain.source) == ("linear", "whole")
    assert (drive.network.initial, drive.training.monitor, drive.training.keep) == ("xavier", "loss", "last")
    assert drive.loss_options.average_background
    assert "flip(probability=0.15)" in drive.training.augment
    assert (lit.network.initial, lit.inference.merge, lit.inference.merge_of) == ("torch", "mean", "probabilities")
    assert lit.curves.patches == Plan.preset("cabezas-wmh").curves.patches == 0


MINIATURES = {  # frames or images beside those of `miniature`, so that there are some to set aside
    "dscpp-drive": ("drive", "training/images/{:02d}_training.tif", "training/1st_manual/{:02d}_manual1.gif"),
    "dscpp-bus2017": ("bus2017", "original/{:06d}.png", "GT/{:06d}.png"),
    "dscpp-dsb2018": ("dsb2018", "stage1_train/{0:04d}/images/{0:04d}.png", "stage1_train/{0:04d}/masks/n1.png"),
    "dscpp-isic2018": (
        "isic2018",
        "ISIC2018_Task1-2_Training_Input/ISIC_{:07d}.jpg",
        "ISIC2018_Task1_Training_GroundTruth/ISIC_{:07d}_segmentation.png",
    ),
    "dscpp-cvc": ("cvc-clinicdb", "PNG/Original/{}.png", "PNG/Ground Truth/{}.png"),
    "cabezas-lit": ("lit", "", ""),
    "cabezas-wmh": ("wmh2017", "", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MINIATURES)
def test_a_preset_starts_on_a_folder_in_its_layout(name: str, tmp_path: Path) -> None:
    """One epoch of one loss and seed, all else as the preset says."""
    layout, image, reference = MINIATURES[name]
    folder = WRITERS[layout](tmp_path / "data")
    for number in (31, 32, 33) if image else ():
        picture(folder / image.format(number), number, channels=1 if name == "dscpp-bus2017" else 3)
        mask(folder / reference.format(number), (1, 2))
        if name == "dscpp-drive":
            mask(folder / "training" / "mask" / f"{number}_training_mask.gif", (1, 1))
        if name == "dscpp-cvc":
            with (folder / "metadata.csv").open("a") as table:
                table.write(f"{number},{number}\n")
    plan = Plan.preset(name)
    training = plan.training.model_dump() | {"epochs": 1}
    results = run(
        plan.changed(
            {
                "losses": [plan.baseline_loss],
                "seeds": [1],
                "folds": 2,
                "data": plan.data.model_dump() | {"source": str(folder)},
                "training": training,
            }
        ),
        tmp_path / "run",
    )
    assert results.failed == results.missing == ()
    assert set(results.metrics) == set(plan.metrics)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPERS)
def test_a_small_form_runs_learns_and_compares(name: str, tmp_path: Path) -> None:
    plan = Plan.preset(f"{name}-small")
    results = run(plan, tmp_path / "run")
    assert results.failed == ()
    assert results.missing == ()
    scores = results.scores
    last = scores[(scores["epoch"] == LAST_EPOCH) & (scores["lesion"] == "")]
    for metric in plan.metrics:
        assert last[last["metric"] == metric]["value"].notna().any(), metric
    comparison = compare(load(tmp_path / "run"), "dice")
    means = [summary.mean for summary in comparison.summaries if summary.method == "network"]
    assert all(mean is not None and math.isfinite(mean) for mean in means)
    assert max(mean for mean in means if mean is not None) > LEARNED
    networks = [d for d in comparison.differences if d.loss in plan.losses]
    assert len(networks) == len(plan.losses) - 1
    assert {d.pairing for d in networks} == {"training run"}
    primary = compare(results, plan.primary_metric)
    assert all(d.mean is not None for d in primary.differences if d.loss in plan.losses)
    if plan.curves.every_epochs:
        assert {band.split for band in epoch_bands(results)} == {"train_patches", "train_images", "test"}
