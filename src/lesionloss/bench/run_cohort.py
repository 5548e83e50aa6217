"""The patients of a run: found or made, prepared once, kept in RUN/cohort, shared by all trials."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.run_folders import link_cohort
from lesionloss.bench.watcher import Watcher
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.data.cohort import Cohort, UnknownTarget, open_cohort
from lesionloss.data.cohort_index import CaseEntry, CohortIndex, load_index
from lesionloss.data.layouts import layouts
from lesionloss.data.preparation.import_prepared import import_prepared, is_prepared
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.prepared import PreparedCase, load_prepared

BUILT_IN_SOURCES = ("synth", "shapes")


@dataclass(frozen=True)
class RunCohort:
    """Prepared cases in memory.

    Attributes:
        dataset: Layout and digest of the content.
        target: What counts as lesion.
        loads: Lesion load of each patient in mm³.
        cases: The cases.
        preparation: The preparation steps and their settings, as in the index.
        case_loads: Lesion load of each case in mm³.
    """

    dataset: str
    target: str
    loads: Mapping[str, float]
    cases: tuple[PreparedCase, ...]
    preparation: Mapping[str, Any] = field(default_factory=dict)
    case_loads: Mapping[str, float] = field(default_factory=dict)

    def named(self, names: Sequence[str]) -> list[PreparedCase]:
        """Return the cases of these names, in this order."""
        by_name = {case.name: case for case in self.cases}
        return [by_name[name] for name in names]


@dataclass(frozen=True)
class ListedCohort:
    """A prepared cohort as its index lists it, without images; `folder` holds a file for each case."""

    dataset: str
    target: str
    loads: Mapping[str, float]
    cases: tuple[CaseEntry, ...]
    folder: Path
    preparation: Mapping[str, Any] = field(default_factory=dict)
    case_loads: Mapping[str, float] = field(default_factory=dict)

    def named(self, names: Sequence[str]) -> list[PreparedCase]:
        """Read the cases of these names.

        Raises:
            DataError: A file is damaged or missing.
        """
        return [load_prepared(self.folder / f"{name}.npz") for name in names]

    def read(self, names: Sequence[str]) -> RunCohort:
        """Read the cases of these names, in the order of the index.

        Raises:
            DataError: A file is damaged or missing.
        """
        wanted = set(names)
        read = self.named([entry.name for entry in self.cases if entry.name in wanted])
        return RunCohort(self.dataset, self.target, self.loads, tuple(read), self.preparation, self.case_loads)


def load_run_cohort(plan: Plan, folder: Path, watcher: Watcher) -> RunCohort:
    """Find or make the plan's patients, prepare and read them all.

    Raises:
        UsageError: As `prepare_run_cohort`.
        DataError: As `prepare_run_cohort`.
    """
    listed = prepare_run_cohort(plan, folder, watcher)
    return listed.read([entry.name for entry in listed.cases])


def prepare_run_cohort(plan: Plan, folder: Path, watcher: Watcher) -> ListedCohort:
    """Find or make the plan's patients and prepare them under `folder`/cohort; prepared ones are copied there.

    Raises:
        UsageError: The plan names no data.
        DataError: A file is damaged, or no case is complete.
    """
    place = folder / "cohort"
    return _listed(place, _index(plan, folder, place, watcher))


def read_run_cohort(folder: Path) -> ListedCohort:
    """Return the cohort that a run folder holds.

    Raises:
        DataError: It holds none.
    """
    return _listed(folder / "cohort", load_index(folder / "cohort"))


def _listed(place: Path, index: CohortIndex) -> ListedCohort:
    """The cohort of an index, its name of the data set with a digest of all content."""
    content = " ".join(f"{entry.name} {entry.content_sha256}" for entry in index.cases)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    dataset, loads = f"{index.layout}-{digest}", index.patient_loads()
    case_loads = {entry.name: entry.reference_mm3 for entry in index.cases}
    return ListedCohort(dataset, index.target, loads, index.cases, place, index.preparation, case_loads)


def _index(plan: Plan, folder: Path, place: Path, watcher: Watcher) -> CohortIndex:
    if is_prepared(plan.data.source):
        if plan.data.prepare is not None:
            raise UsageError(f"data.prepare: {plan.data.source} is prepared already; leave it out, or name raw images")
        return import_prepared(plan.data.source, place, plan.data.patients, plan.data.target)
    cohort = _find_or_make(plan, folder, watcher)
    for case in cohort.incomplete:
        watcher.note(f"left out: {case.name}: {case.reason}")
    _check_complete(cohort)
    link_cohort(folder)
    return prepare_cohort(cohort, place, plan.data.preparation, progress=watcher.cohort).index


def _find_or_make(plan: Plan, folder: Path, watcher: Watcher) -> Cohort:
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
    return user_cohort(plan)


def check_source(plan: Plan) -> None:
    """Raise what `prepare_run_cohort` would raise for images of the user that can't be listed; write nothing."""
    if plan.data.source not in BUILT_IN_SOURCES and not is_prepared(plan.data.source):
        user_cohort(plan)


def user_cohort(plan: Plan) -> Cohort:
    """List the images that a plan names.

    Raises:
        UsageError: It names none, or a layout, target or patient that is not there; the message names the key.
        DataError: No case is complete.
    """
    data = plan.data
    if not data.source:
        raise UsageError(f"plan {plan.name} needs data: say where they are with --data FOLDER")
    if data.layout and data.layout not in layouts.names():
        raise UsageError(f"data.layout: no layout is named {data.layout!r}; {nearest(data.layout, layouts.names())}")
    text = f"{data.layout}:{data.source}" if data.layout else data.source
    try:
        cohort = open_cohort(text, data.target or None)
    except UnknownTarget as error:
        raise UsageError(f'data.target: {error}; target = "" takes the first target of the layout') from error
    except UsageError as error:
        raise UsageError(f"data.source: {error}") from error
    cohort = _with_patients(cohort, data.patients)
    _check_complete(cohort)
    return cohort


def _check_complete(cohort: Cohort) -> None:
    if not cohort.cases:
        raise DataError(f"{cohort.root}: no complete patient found; {len(cohort.incomplete)} incomplete")


def _with_patients(cohort: Cohort, patients: Sequence[str]) -> Cohort:
    """The cohort with the patients that the plan names; all where it names none."""
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
