"""One pass over cases and their maps: each file is opened once, and nothing of it is kept but what the page shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.metrics.lesion_table import SizeClass
from lesionloss.report.case_views import Views, views_of
from lesionloss.report.mosaics import Mosaic, mosaic
from lesionloss.report.probability_maps import (
    Levels,
    MapFacts,
    detection,
    facts_of,
    first_seeds,
    fitted,
    lesions_of,
    level_map,
    lowest_level,
    trials_to_read,
)
from lesionloss.report.viewer_volumes import Volume, volume
from lesionloss.runs.results import CohortCase, Results, RunTrial
from lesionloss.runs.values import facts as metric_facts
from lesionloss.runs.values import headline_rows


@dataclass(frozen=True)
class Casework:
    """What all maps say: `facts` of each map, lesion voxels and voxel volume by case, pictures, volumes.

    `problems`: one line for each file that could not be used. `seeds_left_out`: whether only first seeds were read.
    """

    facts: tuple[MapFacts, ...]
    lesion_voxels: dict[str, NDArray[np.int64]]
    voxel_mm3: dict[str, float]
    mosaics: tuple[Mosaic, ...]
    volumes: tuple[Volume, ...]
    problems: tuple[str, ...]
    seeds_left_out: bool

    def of(self, loss: str) -> list[MapFacts]:
        return [each for each in self.facts if each.loss == loss]

    def detected(self, loss: str, threshold: float) -> list[SizeClass]:
        """Lesions by size over all maps of a loss; found: at least one voxel of the lesion is predicted."""
        level = lowest_level(threshold)
        maps = self.of(loss)
        pairs = [(self.lesion_voxels[each.case], each.reached >= level) for each in maps]
        return detection(pairs, [self.voxel_mm3[each.case] for each in maps])


def worst_first(results: Results, metric: str) -> list[str]:
    """Cases from the worst to the best: by their mean over losses and seeds, misses charged."""
    rows = headline_rows(results, metric)
    means = rows[np.isfinite(rows["penalised"])].groupby("case")["penalised"].mean()
    known = metric_facts(metric)
    bad_first = [(-abs(v) if known.signed else -v if known.lower_is_better else v, str(c)) for c, v in means.items()]
    return [case for _, case in sorted(bad_first)]


def work_through(results: Results, metric: str, embedded: Sequence[str]) -> Casework:
    """Read every case of the cohort that was tested; `embedded` are those whose volumes go into the page."""
    tested = trials_to_read(results)
    facts: list[MapFacts] = []
    title = metric_facts(metric).title if metric else ""
    voxels: dict[str, NDArray[np.int64]] = {}
    mosaics, volumes, problems = [], {}, []
    stored: Any = headline_rows(results, metric).set_index(["key", "case"])["value"] if metric else {}
    for case in results.cohort:
        try:
            views = views_of(results, case.name)
        except DataError as error:
            problems.append(str(error))
            continue
        turned = lesions_of(views.reference, views.spacing_mm)
        voxels[case.name] = turned.voxels
        maps = _maps(views, tested[case.name], problems)
        facts += [facts_of(trial, case.name, levels, views.counted, turned) for trial, levels in maps]
        first = _first(maps)
        if first and case.name in embedded:
            decided = {trial.key: _value(stored, trial, case.name) for trial, _ in first}
            volumes[case.name] = volume(views, turned, first, decided, title)
        if first:
            mosaics.append(mosaic(views, first))
    return Casework(
        facts=tuple(facts),
        lesion_voxels=voxels,
        voxel_mm3={case.name: float(np.prod(case.spacing_mm)) for case in results.cohort},
        mosaics=tuple(mosaics),
        volumes=tuple(volumes[name] for name in embedded if name in volumes),
        problems=tuple(problems),
        seeds_left_out=_seeds_left_out(results.cohort, results.trials, tested),
    )


def _maps(views: Views, trials: Sequence[RunTrial], problems: list[str]) -> list[tuple[RunTrial, Levels]]:
    found = []
    for trial in trials:
        try:
            found.append((trial, views.turned(fitted(level_map(trial, views.case), views.space))))
        except DataError as error:
            problems.append(str(error))
    return found


def _first(maps: Sequence[tuple[RunTrial, Levels]]) -> list[tuple[RunTrial, Levels]]:
    chosen = {trial.key for trial in first_seeds([trial for trial, _ in maps])}
    return [(trial, levels) for trial, levels in maps if trial.key in chosen]


def _value(stored: Any, trial: RunTrial, case: str) -> float | None:
    value = float(stored.get((trial.key, case), float("nan")))
    return value if np.isfinite(value) else None


def _seeds_left_out(
    cohort: Sequence[CohortCase], trials: Sequence[RunTrial], tested: dict[str, tuple[RunTrial, ...]]
) -> bool:
    every = sum(case.name in trial.record.get("test", []) for case in cohort for trial in trials)
    return sum(map(len, tested.values())) < every
