"""The rank of every loss, and how it would move had other patients been measured."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.bench.results import Results
from lesionloss.bench.values import facts, headline_rows, per_patient
from lesionloss.randomness import numpy_generator

RESAMPLES = 2000


@dataclass(frozen=True)
class Ranks:
    """Ranks in one metric over resampled patients: `share[i][r]` of the resamples in which loss i has rank r + 1.

    Ranks are those of the means over patients that every loss has; ties share the better rank. `mean` is the mean rank.
    """

    metric: str
    losses: tuple[str, ...]
    patients: int
    share: tuple[tuple[float, ...], ...]
    mean: tuple[float, ...]


def ranks(results: Results, metric: str) -> Ranks | None:
    """None where nothing is judged, or fewer than two losses or patients can be ranked together."""
    import pandas as pd

    known = facts(metric)
    rows = headline_rows(results, metric)
    columns = {loss: per_patient(rows[rows["loss"] == loss], "penalised") for loss in results.losses}
    scored = {loss: column for loss, column in columns.items() if len(column)}
    if not known.judges or len(scored) < 2:
        return None
    table = pd.DataFrame(scored).dropna()
    if len(table) < 2:
        return None
    values = table.to_numpy(dtype=np.float64)
    better_low = np.abs(values) if known.signed else values if known.lower_is_better else -values
    places = _resampled(better_low, metric)
    share = [[float((places[:, i] == rank).mean()) for rank in range(1, len(scored) + 1)] for i in range(len(scored))]
    return Ranks(
        metric,
        tuple(scored),
        len(table),
        tuple(map(tuple, share)),
        tuple(float(mean) for mean in places.mean(axis=0)),
    )


def _resampled(values: NDArray[np.float64], metric: str) -> NDArray[np.int64]:
    """Rank of each loss in each resample, (RESAMPLES, losses); `values` (patients, losses), low is good."""
    drawn = numpy_generator("ranks", metric).integers(0, len(values), size=(RESAMPLES, len(values)))
    means = values[drawn].mean(axis=1)
    return np.asarray(1 + (means[:, None, :] < means[:, :, None]).sum(axis=2), dtype=np.int64)
