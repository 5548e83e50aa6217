"""One pass over cases and their maps: each file is read once, and only what the page shows is kept."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.metrics.lesion_table import SizeClass
from lesionloss.metrics.thresholds import is_lesion
from lesionloss.report.case_views import views_of
from lesionloss.report.mosaics import CaseMosaic, LossMask, mosaic
from lesionloss.report.probability_maps import (
    MapCounts,
    count_map,
    detection,
    lesions_of,
    probability_map,
    trials_to_read,
)
from lesionloss.report.viewer_volumes import LossLevels, ViewerVolume, loss_levels, viewer_thresholds, viewer_volume
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.runs.results import Results
from lesionloss.runs.run_records import RunTrial


@dataclass(frozen=True)
class CaseMaps:
    """What all maps show: counts of each map, lesion voxels and voxel volume by case, pictures, viewer volumes.

    `problems`: one line for each file that could not be used. `seeds_left_out`: whether only first seeds were read.
    """

    counts: tuple[MapCounts, ...]
    lesion_voxels: dict[str, NDArray[np.int64]]
    voxel_mm3: dict[str, float]
    mosaics: tuple[CaseMosaic, ...]
    volumes: tuple[ViewerVolume, ...]
    problems: tuple[str, ...]
    seeds_left_out: bool

    def of(self, loss: str) -> list[MapCounts]:
        """The maps of one loss."""
        return [each for each in self.counts if each.loss == loss]

    def detected(self, loss: str, threshold: float) -> list[SizeClass]:
        """Lesions by size over all maps of a loss; found: at least one voxel of the lesion is predicted."""
        maps = self.of(loss)
        pairs = [(self.lesion_voxels[each.case], is_lesion(each.highest, threshold)) for each in maps]
        return detection(pairs, [self.voxel_mm3[each.case] for each in maps])


@dataclass(frozen=True)
class _MapReader:
    """How each case is read: `thresholds` are those of the viewer, `scores` those of the page's first metric."""

    results: Results
    scores: MetricScores | None
    thresholds: tuple[float, ...]

    def score(self, trial: RunTrial, case: str) -> float | None:
        value = self.scores.value(trial.key, case) if self.scores else float("nan")
        return value if np.isfinite(value) else None


@dataclass(frozen=True)
class _OneCase:
    """What is kept of one case; no pictures without a map, no volume outside the viewer."""

    counts: tuple[MapCounts, ...]
    lesion_voxels: NDArray[np.int64] | None
    mosaic: CaseMosaic | None
    volume: ViewerVolume | None
    problems: tuple[str, ...]


def read_case_maps(results: Results, scores: MetricScores | None, embedded: Sequence[str]) -> CaseMaps:
    """Read every case of the cohort and the maps of the trials that were tested on it.

    Args:
        results: The run.
        scores: Those of the first metric, shown in the viewer; None if nothing was scored.
        embedded: Cases whose volumes go into the page.
    """
    tested = trials_to_read(results)
    reader = _MapReader(results, scores, viewer_thresholds(trial.threshold for trial in results.trials))
    cases = {
        case.name: _read_case(reader, case.name, tested[case.name], in_viewer=case.name in embedded)
        for case in results.cohort
    }
    volumes = {name: case.volume for name, case in cases.items() if case.volume is not None}
    every = sum(trial.tested(case.name) for case in results.cohort for trial in results.trials)
    return CaseMaps(
        counts=tuple(counts for case in cases.values() for counts in case.counts),
        lesion_voxels={name: case.lesion_voxels for name, case in cases.items() if case.lesion_voxels is not None},
        voxel_mm3={case.name: float(np.prod(case.spacing_mm)) for case in results.cohort},
        mosaics=tuple(case.mosaic for case in cases.values() if case.mosaic is not None),
        volumes=tuple(volumes[name] for name in embedded if name in volumes),
        problems=tuple(problem for case in cases.values() for problem in case.problems),
        seeds_left_out=sum(map(len, tested.values())) < every,
    )


def _read_case(reader: _MapReader, name: str, trials: Sequence[RunTrial], *, in_viewer: bool) -> _OneCase:
    """Read one case and its maps, one map after the other; pictures and viewer show the first seed of each loss."""
    try:
        views = views_of(reader.results, name)
    except DataError as error:
        return _OneCase((), None, None, None, (str(error),))
    lesions = lesions_of(views.reference, views.spacing_mm)
    counts, problems = [], []
    masks: dict[str, LossMask] = {}
    levels: dict[str, LossLevels] = {}
    for trial in trials:
        try:
            probability = views.turned(probability_map(trial, name, views.space))
        except DataError as error:
            problems.append(str(error))
            continue
        counts.append(count_map(trial, name, probability, views.counted, lesions))
        if trial.loss in masks and masks[trial.loss].seed <= trial.seed:
            continue
        masks[trial.loss] = LossMask(trial.loss, trial.seed, is_lesion(probability, trial.threshold))
        if in_viewer:
            levels[trial.loss] = loss_levels(trial, probability, reader.thresholds, reader.score(trial, name))
    picture = mosaic(views, list(masks.values())) if masks else None
    title = reader.scores.facts.title if reader.scores else ""
    volume = viewer_volume(views, lesions, list(levels.values()), reader.thresholds, title) if levels else None
    return _OneCase(tuple(counts), lesions.voxels, picture, volume, tuple(problems))
