"""The patients of a run: found or made, prepared once, kept in RUN/cohort, shared by all trials."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lesionloss.bench.plan import Plan
from lesionloss.bench.plan_storage import link_cohort
from lesionloss.bench.watcher import Watcher
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.cohort import Cohort, open_cohort
from lesionloss.data.cohort_index import CaseEntry, CohortIndex, load_index
from lesionloss.data.preparation.import_prepared import import_prepared, is_prepared
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.prepared import PreparedCase, load_prepared

MADE = ("synth", "shapes")  # sources that are made here


@dataclass(frozen=True)
class RunCohort:
    """Prepared cases, the data set they come from (layout and digest of the content), lesion load (mm³) by patient.

    `preparation` holds the steps and their settings, as the index of the cases has them.
    """

    dataset: str
    target: str
    loads: Mapping[str, float]
    cases: tuple[PreparedCase, ...]
    preparation: Mapping[str, Any] = field(default_factory=dict)

    def named(self, names: Sequence[str]) -> list[PreparedCase]:
        by_name = {case.name: case for case in self.cases}
        return [by_name[name] for name in names]


@dataclass(frozen=True)
class ListedCohort:
    """A prepared cohort as its index tells of it, no image read: names and patients; `folder` holds a file of each."""

    dataset: str
    target: str
    loads: Mapping[str, float]
    cases: tuple[CaseEntry, ...]
    folder: Path
    preparation: Mapping[str, Any] = field(default_factory=dict)

    def named(self, names: Sequence[str]) -> list[PreparedCase]:
        """The cases themselves. Raises DataError where a file is damaged or gone."""
        return [load_prepared(self.folder / f"{name}.npz") for name in names]

    def read(self, names: Sequence[str]) -> RunCohort:
        """The cohort with the named cases alone, in its own order. Raises as `named` does."""
        wanted = set(names)
        read = self.named([entry.name for entry in self.cases if entry.name in wanted])
        return RunCohort(self.dataset, self.target, self.loads, tuple(read), self.preparation)


def run_cohort(plan: Plan, folder: Path, watcher: Watcher) -> RunCohort:
    """Make or find the plan's patients, prepare and read them all. Raises as `made_cohort`."""
    made = made_cohort(plan, folder, watcher)
    return made.read([entry.name for entry in made.cases])


def made_cohort(plan: Plan, folder: Path, watcher: Watcher) -> ListedCohort:
    """Make or find the plan's patients and prepare them under `folder`/cohort; prepared ones are copied there.

    Raises UsageError when the plan names no data, DataError when a file can't be believed or no case is complete.
    """
    place = folder / "cohort"
    return listed(place, _index(plan, folder, place, watcher))


def found_cohort(folder: Path) -> ListedCohort:
    """The cohort that a run folder holds. Raises DataError where it has none."""
    return listed(folder / "cohort", load_index(folder / "cohort"))


def listed(place: Path, index: CohortIndex) -> ListedCohort:
    """What an index says, with the digest of the whole content in the name of the data set."""
    content = " ".join(f"{entry.name} {entry.content_sha256}" for entry in index.cases)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    loads = index.patient_loads()
    return ListedCohort(f"{index.layout}-{digest}", index.target, loads, index.cases, place, index.preparation)


def _index(plan: Plan, folder: Path, place: Path, watcher: Watcher) -> CohortIndex:
    if is_prepared(plan.data.source):
        if plan.data.prepare is not None:
            raise UsageError(f"data.prepare: {plan.data.source} is prepared already; leave it out, or name raw images")
        return import_prepared(plan.data.source, place, plan.data.patients, plan.data.target)
    cohort = _source(plan, folder, watcher)
    for case in cohort.incomplete:
        watcher.note(f"left out: {case.name}: {case.reason}")
    _check_complete(cohort)
    link_cohort(folder)
    return prepare_cohort(cohort, place, plan.data.preparation, progress=watcher.cohort).index


def _source(plan: Plan, folder: Path, watcher: Watcher) -> Cohort:
    data = plan.data
    if data.source == "synth":
        from lesionloss.synth import profile_settings, write_cohort

        place = folder / "synthetic"
        settings = profile_settings(data.synth_profile, {"spacing_mm": data.synth_spacing_mm})
        write_cohort(place, data.synth_patients, data.synth_seed, settings, watcher.cohort)
        return open_cohort(f"msseg2:{place}", data.target or None)
    if data.source == "shapes":
        from lesionloss.synth.shapes import ShapesSettings, write_shapes

        shapes = ShapesSettings(data.shapes_axes, data.shapes_side, data.shapes_classes)
        written = write_shapes(folder / "synthetic", data.synth_patients, data.synth_seed, shapes)
        return open_cohort(written, data.target or None)
    return _given(plan)


def check_source(plan: Plan) -> None:
    """Raise what `made_cohort` would for images of the user's that can't be listed; nothing is written."""
    if plan.data.source not in MADE and not is_prepared(plan.data.source):
        _check_complete(_given(plan))


def _given(plan: Plan) -> Cohort:
    """The user's images."""
    data = plan.data
    if not data.source:
        raise UsageError(f"plan {plan.name} needs data: say where they are with --data FOLDER")
    text = f"{data.layout}:{data.source}" if data.layout else data.source
    return _chosen(open_cohort(text, data.target or None), data.patients)


def _check_complete(cohort: Cohort) -> None:
    if not cohort.cases:
        raise DataError(f"{cohort.root}: no complete patient found; {len(cohort.incomplete)} incomplete")


def _chosen(cohort: Cohort, patients: Sequence[str]) -> Cohort:
    """Only the patients that the plan names; all where it names none."""
    if not patients:
        return cohort
    known = [files.patient for files in cohort.cases]
    for patient in patients:
        if patient not in known:
            raise UsageError(
                f"data.patients: no complete patient {patient!r} under {cohort.root}; {nearest(patient, known)}"
            )
    kept = tuple(files for files in cohort.cases if files.patient in patients)
    return replace(cohort, cases=kept)
