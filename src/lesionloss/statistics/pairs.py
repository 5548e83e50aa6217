"""The pairs of two losses: the same case, fold and seed, and whether their training runs are proven to be a pair."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lesionloss.runs.metric_scores import MetricScores

if TYPE_CHECKING:
    import pandas as pd

MACHINE_FACTS = ("processor", "device", "arithmetic", "torch", "threads")
ROUNDING = 1e-9  # a smaller share of the scores is no difference


def paired_rows(scores: MetricScores, loss: str, baseline: str) -> "pd.DataFrame":
    """The pairs of two losses.

    A method without a training run has no seed: it is paired with every seed of the other, whose seed is kept.

    Args:
        scores: What `Results.metric_scores` gives.
        loss: The loss that is compared.
        baseline: The loss that it is compared with.

    Returns:
        One row per pair: patient, case, fold, seed, both values, and `difference` = loss - baseline (NaN if either is
        undefined, 0 if they are equal but for rounding).
    """
    tables = [scores.comparable.loc[scores.comparable["loss"] == name] for name in (loss, baseline)]
    keys = ["patient", "case", "fold", "seed"]
    seedless = [name in scores.untrained for name in (loss, baseline)]
    if any(seedless):
        keys.remove("seed")
        tables = [
            table.drop(columns="seed") if without else table for table, without in zip(tables, seedless, strict=True)
        ]
    columns = dict.fromkeys([*keys, "seed", "penalised"])
    mine, theirs = (table[[name for name in columns if name in table]] for table in tables)
    pairs = mine.merge(theirs, on=keys, suffixes=("", "_baseline"))
    return pairs.assign(difference=without_rounding(pairs["penalised"], pairs["penalised_baseline"]))


def without_rounding(values: "pd.Series[float]", others: "pd.Series[float]") -> "pd.Series[float]":
    """Values minus others, 0 where they differ by rounding only."""
    difference = values - others
    return difference.mask(difference.abs() <= ROUNDING * np.maximum(values.abs(), others.abs()), 0.0)


def values_by_fold(pairs: "pd.DataFrame", folds: int, repeats: int) -> list[list[NDArray[np.float64]]]:
    """For each repeat, for each of its folds, the patients' differences: means over seeds, then over cases.

    Args:
        pairs: What `paired_rows` gives.
        folds: Folds of a repeat; they are numbered on from one repeat to the next.
        repeats: Repeats of the cross-validation.
    """
    finite = pairs[np.isfinite(pairs["difference"])]
    cases = finite.groupby(["fold", "patient", "case"])["difference"].mean()
    found: dict[int, list[NDArray[np.float64]]] = {}
    for fold, values in cases.groupby(level=["fold", "patient"]).mean().groupby(level="fold"):
        found.setdefault(repeat_of(int(str(fold)), folds, repeats), []).append(values.to_numpy(dtype=np.float64))
    return list(found.values())


def repeat_of(fold: int, folds: int, repeats: int) -> int:
    """The repeat that a fold belongs to, from its number."""
    return fold // folds if repeats > 1 and folds else 0


def fewest_seeds(pairs: "pd.DataFrame") -> int:
    """The number of seeds in the fold that has fewest."""
    finite = pairs[np.isfinite(pairs["difference"])]
    if not len(finite):
        return 0
    return int(finite.groupby("fold")["seed"].nunique().min()) if "seed" in finite else 1


def machines_warning(scores: MetricScores) -> str:
    """A warning where the training runs of a pair had another machine, torch or number of threads; usually empty."""
    ours = {(trial.fold, trial.seed): trial.machine for trial in scores.trials if trial.loss == scores.baseline}
    found: dict[str, str] = {}
    for trial in scores.trials:
        machine = ours.get((trial.fold, trial.seed))
        if machine is None or trial.loss in scores.untrained:
            continue
        for name in MACHINE_FACTS:
            if trial.machine.get(name) != machine.get(name):
                found.setdefault(name, f"{trial.loss}, fold {trial.fold}, seed {trial.seed}")
    if not found:
        return ""
    return (
        f"training runs of pairs with {scores.baseline} differ in {', '.join(found)} (first: "
        f"{next(iter(found.values()))}), so a part of the differences may come from there"
    )


def pairing_of(scores: MetricScores, loss: str, baseline: str) -> tuple[str, str]:
    """What pairs two losses ("training run" or "patient"), and a warning if training runs should be pairs but are not.

    The warning is empty if there is nothing to warn of.
    """
    mine, theirs = (
        {(trial.fold, trial.seed): trial for trial in scores.trials if trial.loss == name} for name in (loss, baseline)
    )
    if loss in scores.untrained or baseline in scores.untrained:
        return "patient", ""
    common = sorted(mine.keys() & theirs.keys())
    unproven = [key for key in common if not mine[key].is_pair_of(theirs[key])]
    if not unproven:
        return ("training run" if common else "patient"), ""
    fold, seed = unproven[0]
    if scores.rules.collected and not any(mine[key].record.get("weights_hash") for key in unproven):
        return "patient", (
            f"it is not known whether the losses started from the weights of {baseline} and saw its batches: they are "
            "paired by patient, not proven by training"
        )
    return "patient", (
        f"{loss} and {baseline} do not share weights and batches in {len(unproven)} of {len(common)} training runs "
        f"(first: fold {fold}, seed {seed}): they are paired by patient only, and their difference is noisier"
    )
