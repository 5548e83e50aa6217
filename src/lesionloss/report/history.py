"""The course of training: the loss over steps and, if the plan has curves, scores over epochs."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lesionloss.core.errors import DataError
from lesionloss.runs.results import Results
from lesionloss.runs.run_records import RunTrial

if TYPE_CHECKING:
    import pandas as pd

HISTORY = "history.csv"
VANISHING = ("zero_gradient_tensors", "zero_gradient_lesion")
NUMBERS = {"step", "loss", *VANISHING}
LAST_STEP = 2**53
POINTS = 60
SPLITS = {"train_patches": "training patches", "train_images": "training images", "test": "test images"}
SHORT_SPLITS = {"train_patches": "Patch", "train_images": "Train", "test": "Test"}  # as in the tables of papers
VANISHING_SHARE = 0.2  # of parameters or lesion voxels without gradient; training warns from here on


@dataclass(frozen=True)
class CurveBand:
    """Mean, lowest and highest value over `trials` training runs, at each step or epoch (`place`).

    `metric` and `split` are empty for the value of the loss itself; `fold` is None for all folds together.
    """

    loss: str
    metric: str
    split: str
    place: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    trials: int
    fold: int | None = None


@dataclass(frozen=True)
class VanishingGradient:
    """A training run that ended with parameter tensors or lesion voxels without gradient, as shares."""

    loss: str
    fold: int
    seed: int
    tensors: float
    lesion_voxels: float


@dataclass(frozen=True)
class GradientNorm:
    """The norm of the gradient of one loss: mean and standard deviation over steps, each the mean over training runs.

    `variation` is the standard deviation over the mean; `trials` is the number of training runs.
    """

    loss: str
    mean: float
    sd: float
    variation: float
    trials: int


def loss_bands(results: Results) -> tuple[CurveBand, ...]:
    """The training loss of each loss function over steps, in at most 60 bins of steps."""
    bands = []
    for loss in results.losses:
        tables = [table for trial in results.trials if trial.loss == loss if (table := _read(trial)) is not None]
        if tables:
            bands.append(_band(loss, "", "", [_binned(table) for table in tables]))
    return tuple(band for band in bands if band.place)


def epoch_bands(results: Results) -> tuple[CurveBand, ...]:
    """Every metric over epochs, for every split that was scored in more than one: training patches first, test last."""
    return tuple(_bands_of(results, results.epoch_means, None))


def fold_bands(results: Results) -> tuple[CurveBand, ...]:
    """The bands of `epoch_bands`, of each fold; empty for a run with one fold."""
    means = results.epoch_means
    folds = sorted(set(means["fold"]))
    each = (_bands_of(results, means[means["fold"] == fold], int(fold)) for fold in folds if len(folds) > 1)
    return tuple(itertools.chain.from_iterable(each))


def _bands_of(results: Results, means: "pd.DataFrame", fold: int | None) -> Iterator[CurveBand]:
    for metric, loss, split in itertools.product(results.metrics, results.losses, splits_of(means)):
        part = means[(means["metric"] == metric) & (means["loss"] == loss) & (means["split"] == split)]
        if part["epoch"].nunique() > 1:
            curves = [one.set_index("epoch")["mean"] for _, one in part.groupby("key")]
            yield _band(loss, metric, split, curves, fold)


def splits_of(means: "pd.DataFrame") -> list[str]:
    """The splits of a table of means: training patches, training images, test images, then any other."""
    known = set(means["split"])
    return [*(split for split in SPLITS if split in known), *sorted(known - set(SPLITS))]


def gradient_norms(results: Results) -> tuple[GradientNorm, ...]:
    """The norm of the gradient over the steps of training, for losses whose runs have measured it."""
    found = []
    for loss in results.losses:
        tables = [table for trial in results.trials if trial.loss == loss if (table := _read(trial)) is not None]
        norms = [table["gradient_norm"] for table in tables if "gradient_norm" in table]
        finite = [values for norm in norms if len(values := norm[np.isfinite(norm)]) > 1]
        if finite:
            mean, sd = (float(np.mean([getattr(values, of)() for values in finite])) for of in ("mean", "std"))
            found.append(GradientNorm(loss, mean, sd, sd / mean if mean else 0.0, len(finite)))
    return tuple(found)


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


def _band(loss: str, metric: str, split: str, curves: "list[pd.Series[float]]", fold: int | None = None) -> CurveBand:
    import pandas as pd

    table = pd.concat(curves, axis=1).sort_index()
    values = table.to_numpy(dtype=np.float64)
    mean, low, high = (tuple(map(float, of(values, axis=1))) for of in (np.nanmean, np.nanmin, np.nanmax))
    places = tuple(float(place) for place in table.index)
    return CurveBand(loss, metric, split, places, mean, low, high, len(curves), fold)
