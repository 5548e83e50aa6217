"""The presets of the papers: what they declare, and that their small forms run, learn and end in a comparison."""

import math
from pathlib import Path

import pytest
import torch

import miniature
from lesionloss.bench.plan import Plan, list_presets
from lesionloss.bench.run import run
from lesionloss.cli.plan_options import chosen_plan
from lesionloss.data.prepared import load_prepared, to_original_grid
from lesionloss.networks import as_outputs, blank_network, network_channels
from lesionloss.report.history import epoch_bands
from lesionloss.runs.load_run import load
from lesionloss.runs.scores import LAST_EPOCH
from lesionloss.statistics import compare
from lesionloss.training.optimisers import AdamSettings, read_optimiser

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
    assert small.training.deep_upsampling == whole.training.deep_upsampling
    assert small.loss_options == whole.loss_options
    assert small.inference.decision == whole.inference.decision
    assert small.training.optimiser == whole.training.optimiser
    assert small.training.schedule.partition("(")[0] == whole.training.schedule.partition("(")[0]
    assert small.training.sampler.partition("(")[0] == whole.training.sampler.partition("(")[0]
    assert set(small.losses) <= set(whole.losses)
    assert small.metrics == whole.metrics
    assert bool(small.curves.every_epochs) == bool(whole.curves.every_epochs)


def test_the_recipes_are_those_of_the_papers() -> None:
    hytver, cabezas, dscpp = (Plan.preset(name) for name in ("hytver", "cabezas-lit", "dscpp-drive"))
    t = hytver.training
    assert (t.optimiser, t.learning_rate, t.batch, t.patch, t.steps) == ("adam", 1e-3, 4, (80, 80, 80), 250)
    assert set(hytver.losses) == {  # the 13 rows of Tables I and II
        *("dice", "cross_entropy", "focal", "tversky", "symmetric_unified_focal", "asymmetric_unified_focal"),
        *("logcosh", "dice_ce", "dice_focal", "focal_tversky", "combo", "weighted_cross_entropy", "hytver"),
    }
    assert len(hytver.losses) == 13
    assert {"dice", "jaccard", "hd", "hd95", "asd_pred_to_ref", "precision", "lesion_f1"} <= set(hytver.metrics)
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


TOPK = {  # Hosseini 2024, sections 3.1 and 3.2: network, epochs, side of slices, steps of augmentation, k
    "topk-synapse": ("resnet34_unet", (1, 9), 300, 320, ("flip", "rotate", "scale", "elastic", "blur"), 50),
    "topk-acdc": ("resnet34_unet", (1, 4), 300, 256, ("flip", "rotate", "scale", "elastic"), 50),
    "topk-msseg2016": ("plain_unet", (5, 2), 100, 256, ("rotate", "scale"), 30),
}


@pytest.mark.parametrize("name", TOPK)
def test_the_recipes_of_topk_dice_are_as_printed(name: str) -> None:
    network, channels, epochs, side, augment, k = TOPK[name]
    plan = Plan.preset(name)
    t, prepare = plan.training, plan.data.preparation
    assert plan.network.text.partition("(")[0] == network
    assert network_channels(plan.network.text) == channels
    assert (read_optimiser(t.optimiser), t.learning_rate) == (AdamSettings(weight_decay=1e-4), 5e-4)
    assert (t.schedule, t.poly_power, t.epochs, t.sampler) == ("polynomial", 0.9, epochs, "slices")
    assert (t.deep_upsampling, t.deep_weights) == (True, (1, 1, 1))
    assert (t.patch, plan.inference.window, prepare.resample.size) == ((side, side, 1), (side, side), (side, side))
    assert prepare.steps[-1] == "scale_to_unit"
    assert ("clip" in prepare.steps) == (name == "topk-synapse")
    assert Plan.preset("topk-synapse").data.preparation.clip.between == (-125, 275)
    assert isinstance(t.augment, tuple)
    assert tuple(step.partition("(")[0] for step in t.augment) == augment
    assert plan.losses == (
        *("dice_ce(squared=True)", "cross_entropy", "dice_focal(squared=True)"),
        *(f"dice_topk(squared=True, k={k})", f"ce_topk_dice(k={k})"),
    )
    assert (plan.loss_options.empty, plan.inference.decision) == ("skip", "argmax")
    heads = as_outputs(blank_network(plan.network.text).train()(torch.empty(2, channels[0], 64, 64, device="meta")))
    assert heads.logits.shape == (2, channels[1], 64, 64)
    wanted = (64 // 8, 64 // 16) if network == "resnet34_unet" else (64 // 2, 64 // 4)
    assert tuple(level.shape[-1] for level in heads.deep) == wanted


@pytest.mark.parametrize("name", TOPK)
def test_topk_dice_starts_in_the_layout_of_its_data_with_the_printed_split(name: str, tmp_path: Path) -> None:
    """One epoch of whole slices of a miniature folder, at the printed size, with a narrow network."""
    layout = Plan.preset(name).data.layout
    settings = ["split=[1, 1]", "seeds=[1]", "training.epochs=1", "training.batch=3", "training.precision='float32'"]
    plan = chosen_plan(name, str(miniature.WRITERS[layout](tmp_path / "data")), [], settings)
    proposed, text = plan.losses[-1], plan.network.text.removesuffix(")") + ", filters=4)"
    plan = plan.changed({"losses": (proposed,), "baseline_loss": proposed, "network": {"text": text}})
    results = run(plan, tmp_path / "run")
    assert (results.failed, results.missing) == ((), ())
    (trial,) = (trial.record for trial in results.trials)
    slices = 5 * len(trial["train"])
    assert trial["steps"] == -(-slices // 3)
    assert (trial["empty"], trial["decision"], trial["deep_upsampling"]) == ("skip", "argmax", True)
    side = TOPK[name][3]
    case = load_prepared(tmp_path / "run" / "cohort" / f"{trial['test'][0]}.npz")
    assert case.shape == (side, side, 5)
    assert (float(case.image.min()), float(case.image.max())) == (0, 1)
    assert to_original_grid(case.reference, case).shape == miniature.SHAPE


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
    assert isinstance(drive.training.augment, tuple)
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
    "hytver": ("msseg2", "", ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MINIATURES)
def test_a_preset_starts_on_a_folder_in_its_layout(name: str, tmp_path: Path) -> None:
    """One epoch of one loss and seed, all else as the preset says."""
    layout, image, reference = MINIATURES[name]
    folder = miniature.WRITERS[layout](tmp_path / "data")
    for number in (31, 32, 33) if image else ():
        miniature.picture(folder / image.format(number), number, channels=1 if name == "dscpp-bus2017" else 3)
        miniature.mask(folder / reference.format(number), (1, 2))
        if name == "dscpp-drive":
            miniature.mask(folder / "training" / "mask" / f"{number}_training_mask.gif", (1, 1))
        if name == "dscpp-cvc":
            with (folder / "metadata.csv").open("a") as table:
                table.write(f"{number},{number}\n")
    plan = Plan.preset(name)
    length = {"epochs": 1} if plan.training.epochs else {"steps": 1}  # a step is more than an epoch of two patients
    training = plan.training.model_dump() | length
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
