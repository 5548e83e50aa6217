"""The course of training: the loss over steps and, if the plan has curves, scores over epochs."""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.runs.metric_facts import metric_facts
from lesionloss.runs.metric_scores import REFERENCE_EMPTY, WHOLE_IMAGE
from lesionloss.runs.results import Results
from lesionloss.runs.run_records import RunTrial
from lesionloss.runs.scores import LAST_EPOCH

if TYPE_CHECKING:
    import pandas as pd

HISTORY = "history.csv"
VANISHING = ("zero_gradient_tensors", "zero_gradient_lesion")
NUMBERS = {"step", "loss", *VANISHING}
LAST_STEP = 2**53
POINTS = 60
SPLITS = {"train_patches": "training patches", "train_images": "training images", "test": "test images"}
VANISHING_SHARE = 0.2  # of parameters or lesion voxels without gradient; training warns from here on


@dataclass(frozen=True)
class CurveBand:
    """Mean, lowest and highest value over `trials` training runs, at each step or epoch (`place`).

    `metric` and `split` are empty for the value of the loss itself.
    """

    loss: str
    metric: str
    split: str
    place: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    trials: int


@dataclass(frozen=True)
class VanishingGradient:
    """A training run that ended with parameter tensors or lesion voxels without gradient, as shares."""

    loss: str
    fold: int
    seed: int
    tensors: float
    lesion_voxels: float


def loss_bands(results: Results) -> tuple[CurveBand, ...]:
    """The training loss of each loss function over steps, in at most 60 bins of steps."""
    bands = []
    for loss in results.losses:
        tables = [table for trial in results.trials if trial.loss == loss if (table := _read(trial)) is not None]
        if tables:
            bands.append(_band(loss, "", "", [_binned(table) for table in tables]))
    return tuple(band for band in bands if band.place)


def epoch_bands(results: Results) -> tuple[CurveBand, ...]:
    """Every metric over epochs, for every split that was scored in more than one: training patches first, test last.

    Patches and images without lesions are left out of metrics that need one.
    """
    table = results.scores
    rows = table[(table["epoch"] < LAST_EPOCH) & table["lesion"].isin(WHOLE_IMAGE) & np.isfinite(table["value"])]
    known = set(rows["split"])
    splits = [*(split for split in SPLITS if split in known), *sorted(known - set(SPLITS))]
    bands = []
    for metric, loss, split in itertools.product(results.metrics, results.losses, splits):
        part = rows[(rows["metric"] == metric) & (rows["loss"] == loss) & (rows["split"] == split)]
        if metric_facts(metric).needs_lesions:
            part = part[~part["status"].isin(REFERENCE_EMPTY)]
        if part["epoch"].nunique() > 1:
            curves = [one.groupby("epoch")["value"].mean() for _, one in part.groupby("key")]
            bands.append(_band(loss, metric, split, curves))
    return tuple(bands)


def vanishing_gradients(results: Results) -> tuple[VanishingGradient, ...]:
    """Training runs that ended with many parameter tensors or lesion voxels without gradient."""
    found = []
    for trial in results.trials:
        table = _read(trial)
        if table is None or not set(VANISHING) <= set(table.columns):
            continue
        tensors, voxels = (float(table[name].iloc[-1]) for name in VANISHING)
        if tensors > VANISHING_SHARE or voxels > VANISHING_SHARE:
            found.append(VanishingGradient(trial.loss, trial.fold, trial.seed, tensors, voxels))
    return tuple(found)


def _read(trial: RunTrial) -> "pd.DataFrame | None":
    import pandas as pd

    if HISTORY not in trial.files:
        return None
    path = trial.file(HISTORY)
    try:
        table = pd.read_csv(path)
        for name in NUMBERS & set(table.columns):
            table[name] = pd.to_numeric(table[name]).astype(float)
        if "step" in table and not table["step"].between(0, LAST_STEP).all():
            raise ValueError("a step is no number of a step")
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise DataError(
            f"{path} is damaged: {str(error).splitlines()[0]}; remove its folder and bench again"
        ) from error
    return table if {"step", "loss"} <= set(table.columns) and len(table) else None


def _binned(table: "pd.DataFrame") -> "pd.Series[float]":
    """Mean loss in bins of steps; the index is the last step of each bin."""
    width = max(1, -(-int(table["step"].max()) // POINTS))
    finite = table[np.isfinite(table["loss"])]
    bins: pd.Series[float] = finite.groupby(((finite["step"] - 1) // width + 1) * width)["loss"].mean()
    return bins


def _band(loss: str, metric: str, split: str, curves: "list[pd.Series[float]]") -> CurveBand:
    import pandas as pd

    table = pd.concat(curves, axis=1).sort_index()
    values = table.to_numpy(dtype=np.float64)
    mean, low, high = (tuple(map(float, of(values, axis=1))) for of in (np.nanmean, np.nanmin, np.nanmax))
    return CurveBand(loss, metric, split, tuple(float(place) for place in table.index), mean, low, high, len(curves))
