"""nnU-Net's results: trainers are the losses, fold_k/validation the predictions, hashes prove the pairs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import lesionloss as ll
from lesionloss.collecting.nnunet_files import labels_of
from lesionloss.runs.results import Results
from others_predictions import Others, write_nnunet

DATA = "Dataset501_MS"
METRICS = ("dice", "brier")


def collected(folder: Path, out: Path, *, strict: bool = False) -> Results:
    return ll.collect(
        out,
        nnunet=folder / "nnUNet_results" / DATA,
        references=folder / "nnUNet_raw" / DATA / "labelsTr",
        metrics=METRICS,
        strict=strict,
    )


def test_trainers_are_losses_and_hashes_prove_their_pairs(nnunet: Path, tmp_path: Path) -> None:
    results = collected(nnunet, tmp_path / "run", strict=True)
    assert results.losses == ("dice", "focal")
    assert (results.plan["folds"], results.plan["seeds"]) == (3, [1, 2])
    comparison = ll.compare(results, "dice")
    assert comparison.differences[0].pairing == "training run"
    assert comparison.warnings == ()
    assert results.collected["unknown"] == ["network", "training settings"]
    assert results.collected["differs"] == ["kernels: some add in a varying order"]
    trial = results.trials[0]
    assert (trial.record["steps"], trial.machine) == (6, {"torch": "2.13.0", "device": "cpu, 2 threads"})
    assert sorted(results.trials[0].record["train"] + results.trials[0].record["test"]) == Others().names
    assert results.shared_patients == frozenset()
    assert results.cohort[0].name == "case00"
    assert results.scores.query("metric == 'brier'")["value"].between(0, 0.5).all()


@pytest.mark.parametrize(
    ("proofs", "warning"), [("different", "do not share weights and batches"), ("none", "it is not known whether")]
)
def test_other_hashes_prove_nothing(tmp_path: Path, proofs: str, warning: str) -> None:
    folder = write_nnunet(tmp_path, Others(), proofs=proofs)
    comparison = ll.compare(collected(folder, tmp_path / "run"), "dice")
    assert comparison.differences[0].pairing == "patient"
    assert warning in comparison.warnings[0]


def test_maps_in_another_order_of_classes_are_refused(tmp_path: Path) -> None:
    folder = write_nnunet(tmp_path, Others())
    for path in (folder / "nnUNet_results").rglob("*.npz"):
        with np.load(path) as arrays:
            turned = arrays["probabilities"][::-1]
        np.savez_compressed(path, probabilities=turned)
    with pytest.raises(ll.DataError, match=r"is not the mask that .*npz gives.*order of classes"):
        collected(folder, tmp_path / "run")


def test_results_without_validation_and_wrong_folders_are_refused(nnunet: Path, tmp_path: Path) -> None:
    with pytest.raises(ll.UsageError, match=r"no TRAINER__PLANS__CONFIGURATION .* name one of Dataset501_MS in it"):
        ll.collect(tmp_path / "run", nnunet=nnunet / "nnUNet_results", references=nnunet)
    shutil.copytree(nnunet, copy := tmp_path / "copy")
    for path in copy.rglob("validation"):
        shutil.rmtree(path)
    with pytest.raises(ll.UsageError, match=r"no trainer has predictions in fold_k/validation"):
        collected(copy, tmp_path / "run")


def test_folds_are_compared_with_the_splits(nnunet: Path, tmp_path: Path) -> None:
    shutil.copytree(nnunet, copy := tmp_path / "copy")
    splits = copy / "nnUNet_preprocessed" / DATA / "splits_final.json"
    record = json.loads(splits.read_text())
    record[0]["val"], record[1]["val"] = record[1]["val"], record[0]["val"]
    splits.write_text(json.dumps(record))
    shutil.copytree(next(copy.rglob("fold_0")), next(copy.rglob("fold_0")).with_name("fold_all"))
    results = collected(copy, tmp_path / "run")
    kinds = [text.partition(": ")[0] for text in results.collected["mismatches"]]
    assert kinds.count("fold that is not that of splits_final.json") == 8
    assert kinds.count("fold that was trained on all cases") == 1


def test_trainers_of_others_have_no_seed(nnunet: Path, tmp_path: Path) -> None:
    shutil.copytree(nnunet, copy := tmp_path / "copy")
    place = copy / "nnUNet_results" / DATA
    shutil.rmtree(place / "nnUNetTrainerLL_dice_s2__nnUNetPlans__3d_fullres")
    shutil.rmtree(place / "nnUNetTrainerLL_focal_s2__nnUNetPlans__3d_fullres")
    (place / "nnUNetTrainerLL_dice_s1__nnUNetPlans__3d_fullres").rename(place / "nnUNetTrainer__nnUNetPlans__2d")
    for path in place.rglob("lesionloss_pairing.json"):
        path.unlink()
    results = collected(copy, tmp_path / "run")
    assert results.losses == ("focal, 3d_fullres", "nnUNetTrainer, 2d")
    assert results.plan["seeds"] == []
    assert results.collected["compares"] == "method"
    assert ll.compare(results, "dice").differences[0].verdict == "seeds unknown"


def test_a_damaged_record_of_a_pair_is_refused(nnunet: Path, tmp_path: Path) -> None:
    shutil.copytree(nnunet, copy := tmp_path / "copy")
    path = next(copy.rglob("lesionloss_pairing.json"))
    path.write_text(
        json.dumps(
            {"format": 2, "loss": "dice", "fold": 0, "seed": 1} | {"initial_weights_sha256": "", "batches_sha256": {}}
        )
    )
    with pytest.raises(ll.DataError, match="format 2, this version reads 1"):
        collected(copy, tmp_path / "run")
    path.write_text('{"loss": "dice"}')
    with pytest.raises(ll.DataError, match="not a record of a pair"):
        collected(copy, tmp_path / "run2")


def test_labels_of_a_dataset() -> None:
    plain = labels_of({"background": 0, "lesion": 1, "oedema": 2, "ignore": 3})
    assert (dict(plain.numbers), plain.ignore) == ({"lesion": 1, "oedema": 2}, 3)
    regions = labels_of({"background": 0, "whole": [1, 2], "core": [2]})
    assert dict(regions.numbers) == {"label 1": 1, "label 2": 2}


def test_training_runs_of_several_lengths_are_several_losses(nnunet: Path, tmp_path: Path) -> None:
    folder = tmp_path / "both"
    shutil.copytree(nnunet, folder)
    results = folder / "nnUNet_results" / DATA
    shorter = [model.with_name(model.name.replace("__", "_e50_i10__", 1)) for model in sorted(results.glob("*_s?__*"))]
    for model in shorter:
        shutil.copytree(model.with_name(model.name.replace("_e50_i10", "")), model)
    assert set(collected(folder, tmp_path / "all").losses) == {"dice", "focal", "dice e50 i10", "focal e50 i10"}
    chosen = ll.collect(
        tmp_path / "chosen",
        nnunet=results,
        models=[model.name for model in shorter],
        references=folder / "nnUNet_raw" / DATA / "labelsTr",
        metrics=["dice"],
    )
    assert (chosen.losses, chosen.plan["seeds"]) == (("dice", "focal"), [1, 2])


def test_a_fold_that_nobody_trained_is_named_once(nnunet: Path, tmp_path: Path) -> None:
    shutil.copytree(nnunet, copy := tmp_path / "copy")
    for folder in (copy / "nnUNet_results").rglob("fold_2"):
        shutil.rmtree(folder)
    results = collected(copy, tmp_path / "run")
    cases = len(json.loads((copy / "nnUNet_preprocessed" / DATA / "splits_final.json").read_text())[2]["val"])
    assert results.collected["mismatches"] == [f"fold that no trainer has: fold 2: {cases} cases"]
    assert results.left_out == ()
