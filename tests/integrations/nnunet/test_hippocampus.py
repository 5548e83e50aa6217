"""The whole way on real data, by nnU-Net's own commands: plan, train in pairs, validate, collect, report, predict."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lesionloss as ll
from nnunet_hippocampus import HIPPOCAMPUS, NAME, environment, write_raw

CASES = 10
LOSSES = ("nnunet", "hytver")
PLAN = """
dataset = 504
configuration = "3d_fullres"
losses = ["nnunet", "hytver"]
baseline_loss = "nnunet"
folds = [0, 1]
seeds = [1, 2]
epochs = 2
iterations = 3
validation_iterations = 1
device = "cpu"
metrics = ["dice", "recall"]
"""


class Workplace:
    """nnU-Net's folders with the hippocampus set, planned and preprocessed for a small network."""

    def __init__(self, root: Path) -> None:
        self.root = root
        write_raw(root / "raw", CASES)
        module = "experiment_planning.plan_and_preprocess_entrypoints"
        words = ("-d", "504", "-npfp", "1", "--verify_dataset_integrity", "--no_pp")
        self.nnunet(f"{module}:plan_and_preprocess_entry", *words)
        plans = root / "preprocessed" / NAME / "nnUNetPlans.json"
        record = json.loads(plans.read_text())
        record["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["features_per_stage"] = [2, 4, 8, 8]
        plans.write_text(json.dumps(record))
        self.nnunet(f"{module}:preprocess_entry", "-d", "504", "-c", "3d_fullres", "-np", "1")
        (root / "plan.toml").write_text(PLAN)

    def nnunet(self, entry: str, *words: str, **variables: str) -> str:
        """A command of nnU-Net."""
        module, name = entry.split(":")
        return self._run(["-c", f"from nnunetv2.{module} import {name} as entry; entry()", *words], variables)

    def lesionloss(self, *words: object) -> str:
        """A command of ours."""
        return self._run(["-m", "lesionloss", *map(str, words)], {})

    def _run(self, words: list[str], variables: dict[str, str]) -> str:
        command = [sys.executable, *words]
        where = environment(self.root) | variables
        ended = subprocess.run(command, env=where, cwd=self.root, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        return ended.stdout

    def model(self, loss: str, seed: int) -> Path:
        """The results of a loss and seed."""
        return self.root / "results" / NAME / f"nnUNetTrainerLL_{loss}_s{seed}_e2_i3_v1__nnUNetPlans__3d_fullres"


@pytest.mark.slow
@pytest.mark.skipif(not HIPPOCAMPUS.is_dir(), reason="the hippocampus set is not beside the project")
def test_from_volumes_to_a_report(tmp_path: Path) -> None:
    place = Workplace(tmp_path)
    first = place.lesionloss("nnunet", "bench", "plan.toml", "--out", "run")
    assert "8 of 8: fold 1, seed 2, hytver\n" in first
    assert_pairs(place)
    results = ll.load(tmp_path / "run")
    assert set(results.losses) == set(LOSSES)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Hashes that the trainer wrote prove" in page
    assert "nnunet" in place.lesionloss("compare", "run")
    again = place.lesionloss("nnunet", "bench", "plan.toml", "--out", "run")
    assert " of 8" not in again
    assert ll.load(tmp_path / "run").scores.equals(results.scores)
    assert_commands_of_nnunet_work(place)


def assert_pairs(place: Workplace) -> None:
    """Within a fold and seed, both losses have the same hashes; between seeds and folds, none are equal."""
    seen = set()
    for fold in range(2):
        for seed in (1, 2):
            folders = [place.model(loss, seed) / f"fold_{fold}" for loss in LOSSES]
            records = [json.loads((folder / "lesionloss_pairing.json").read_text()) for folder in folders]
            proofs = {(each["initial_weights_sha256"], each["batches_sha256"]["1"]) for each in records}
            assert len(proofs) == 1
            assert [each["loss"] for each in records] == list(LOSSES)
            seen |= proofs
            masks = [(folder / "validation").glob("*.nii.gz") for folder in folders]
            assert len({path.name for each in masks for path in each}) == CASES // 5
    assert len(seen) == len({weights for weights, _ in seen}) == len({batch for _, batch in seen}) == 4


def assert_commands_of_nnunet_work(place: Workplace) -> None:
    """With the variable that `lesionloss nnunet env` exports, and nothing else."""
    line = place.lesionloss("nnunet", "env").strip()
    variable, value = line.removeprefix("export ").split("=")
    trainer = place.model("hytver", 1).name.split("__")[0]
    same = ["504", "-tr", trainer, "-c", "3d_fullres"]
    best = place.nnunet(
        "evaluation.find_best_configuration:find_best_configuration_entry_point",
        *(*same, "-f", "0", "1", "--disable_ensembling", "-np", "1"),
        **{variable: value},
    )
    assert trainer in best
    images = place.root / "raw" / NAME / "imagesTr"
    one = place.root / "one"
    one.mkdir()
    name = min(path.name for path in images.iterdir())
    (one / name).write_bytes((images / name).read_bytes())
    words = ["-i", str(one), "-o", "unchanged", "-d", *same, "-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1"]
    place.nnunet("inference.predict_from_raw_data:predict_entry_point", *words, **{variable: value})
    options = ["--loss", "hytver", "--seed", 1, "--epochs", 2, "--iterations", 3, "--validation-iterations", 1]
    options += ["--device", "cpu", "--", "-npp", "1", "-nps", "1"]
    place.lesionloss(
        *("nnunet", "predict", 504, "3d_fullres", "--input", one, "--output", "ours", "--fold", 0, *options)
    )
    mask = name.replace("_0000", "")
    assert (place.root / "ours" / mask).read_bytes() == (place.root / "unchanged" / mask).read_bytes()
