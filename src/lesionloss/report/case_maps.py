"""One pass over cases and their maps: each file is read once, and only what the page shows is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionloss.core.errors import DataError
from lesionloss.core.number_text import number
from lesionloss.core.slice_pictures import fullest_slice
from lesionloss.metrics.lesion_table import SizeClass
from lesionloss.metrics.thresholds import is_lesion
from lesionloss.report.case_slices import CaseSlice, ChosenCase, LossSlice, case_slice, mask_labels
from lesionloss.report.case_views import CaseViews, views_of
from lesionloss.report.mosaics import CaseMosaic, LossMask, mosaic
from lesionloss.report.probability_maps import (
    MapCounts,
    Probability,
    count_map,
    detection,
    kept_prediction,
    lesions_of,
    trials_to_read,
)
from lesionloss.report.viewer_volumes import LossLevels, ViewerVolume, loss_levels, viewer_thresholds, viewer_volume
from lesionloss.runs.metric_scores import MetricScores
from lesionloss.runs.results import Results
from lesionloss.runs.run_records import RunTrial


@dataclass(frozen=True)
class CaseMaps:
    """What all maps show: counts of each map, lesion voxels and voxel volume by case, pictures, viewer volumes.

    `slices`: what the figures of chosen cases show. `problems`: one line for each file that could not be used.
    `seeds_left_out`: whether only first seeds were read.
    """

    counts: tuple[MapCounts, ...]
    lesion_voxels: dict[str, NDArray[np.int64]]
    voxel_mm3: dict[str, float]
    mosaics: tuple[CaseMosaic, ...]
    volumes: tuple[ViewerVolume, ...]
    slices: tuple[CaseSlice, ...]
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

    def probable(self, trial: RunTrial) -> bool:
        """Whether the maps of a trial are probabilities of a network."""
        return trial.loss not in self.results.untrained and trial.has_probabilities

    def note(self, trial: RunTrial, case: str) -> str:
        """The score of a case in words, with the seed of a training run."""
        if self.scores is None:
            return ""
        value = self.scores.value(trial.key, case)
        text = number(value) if np.isfinite(value) else "infinite" if np.isinf(value) else "undefined"
        has_seed = trial.loss not in self.scores.untrained and self.scores.rules.seeds_known
        seed = f", seed {trial.seed}" if has_seed else ""
        return f"{self.scores.facts.title} {text}{seed}"


@dataclass(frozen=True)
class _OneCase:
    """What is kept of one case; no pictures without a map, no volume outside the viewer."""

    counts: tuple[MapCounts, ...]
    lesion_voxels: NDArray[np.int64] | None
    mosaic: CaseMosaic | None
    volume: ViewerVolume | None
    shown: CaseSlice | None
    problems: tuple[str, ...]


def read_case_maps(
    results: Results, scores: MetricScores | None, embedded: Sequence[str], chosen: Sequence[ChosenCase] = ()
) -> CaseMaps:
    """Read every case of the cohort and the maps of the trials that were tested on it.

    Args:
        results: The run.
        scores: Those of the first metric, shown in the viewer; None if nothing was scored.
        embedded: Cases whose volumes go into the page.
        chosen: Cases that the figures show.
    """
    pictured = {each.case: each for each in chosen}
    tested = trials_to_read(results)
    reader = _MapReader(results, scores, viewer_thresholds(trial.threshold for trial in results.trials))
    cases = {
        case.name: _read_case(reader, case.name, tested[case.name], case.name in embedded, pictured.get(case.name))
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
        slices=tuple(found for each in chosen if (found := cases[each.case].shown) is not None),
        problems=tuple(problem for case in cases.values() for problem in case.problems),
        seeds_left_out=sum(map(len, tested.values())) < every,
    )


def _read_case(
    reader: _MapReader, name: str, trials: Sequence[RunTrial], in_viewer: bool, chosen: ChosenCase | None
) -> _OneCase:
    """Read one case and its maps, one map after the other; pictures and viewer show the first seed of each loss."""
    try:
        views = views_of(reader.results, name)
    except DataError as error:
        return _OneCase((), None, None, None, None, (str(error),))
    lesions = lesions_of(views.reference, views.spacing_mm)
    counts, problems = [], []
    masks: dict[str, LossMask] = {}
    levels: dict[str, LossLevels] = {}
    slices: dict[str, LossSlice] = {}
    for trial in trials:
        try:
            kept = kept_prediction(trial, name, views.space, len(views.classes))
        except DataError as error:
            problems.append(str(error))
            continue
        probability = views.turned(kept.probability)
        counts.append(count_map(trial, name, probability, views.counted, lesions))
        if trial.loss in masks and masks[trial.loss].seed <= trial.seed:
            continue
        labels = mask_labels(probability, trial.threshold)
        if kept.labels is not None and len(views.classes) > 1:
            labels = views.turned(kept.labels)
        masks[trial.loss] = LossMask(trial.loss, trial.seed, labels)
        if chosen is not None:
            slices[trial.loss] = _loss_slice(reader, trial, views, probability, labels, kept.in_slice)
        if in_viewer:
            levels[trial.loss] = loss_levels(
                trial, probability, reader.thresholds, reader.score(trial, name), probable=reader.probable(trial)
            )
    picture = mosaic(views, list(masks.values())) if masks else None
    title = reader.scores.facts.title if reader.scores else ""
    volume = viewer_volume(views, lesions, list(levels.values()), reader.thresholds, title) if levels else None
    shown = _case_slice(reader, chosen, views, slices) if chosen is not None else None
    return _OneCase(tuple(counts), lesions.voxels, picture, volume, shown, tuple(problems))


def _loss_slice(
    reader: _MapReader,
    trial: RunTrial,
    views: CaseViews,
    probability: Probability,
    labels: NDArray[np.uint8],
    of_classes: Probability | None,
) -> LossSlice:
    plane = fullest_slice(views.reference)
    if of_classes is None and len(views.classes) == 1:
        of_classes = probability[plane][None]
    return LossSlice(
        loss=trial.loss,
        note=reader.note(trial, views.case),
        trained=reader.probable(trial),
        threshold=None if trial.record.get("decision") == "argmax" else trial.threshold,
        probability=probability[plane].copy(),
        labels=labels[plane].copy(),
        of_classes=of_classes,
    )


def _case_slice(reader: _MapReader, chosen: ChosenCase, views: CaseViews, slices: Mapping[str, LossSlice]) -> CaseSlice:
    """In the order of the run's losses; those without a slice have a reason instead."""
    results = reader.results
    tested = {trial.loss for trial in results.trials if trial.tested(views.case)}
    reasons = {True: "its prediction was not kept or is damaged", False: "no prediction of this case"}
    absent = {loss: reasons[loss in tested] for loss in results.losses if loss not in slices}
    return case_slice(chosen, views, [slices[loss] for loss in results.losses if loss in slices], absent)
