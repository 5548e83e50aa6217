"""Find or make the patients of a plan and what is mixed into them, and prepare them once, in the run folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lesionloss.bench.plan import Plan
from lesionloss.bench.plan.run_folders import link_cohort
from lesionloss.bench.plan.sections import BUILT_IN_SOURCES, DataSection, MixSection, SourceSection
from lesionloss.bench.run_cohort import MIXTURE, ListedCohort, RunCohort, list_cohort, read_run_cohort
from lesionloss.bench.watcher import Watcher
from lesionloss.core.catalogue import nearest
from lesionloss.core.errors import DataError, UsageError
from lesionloss.core.files import write_text
from lesionloss.data.cohort import Cohort, UnknownTarget, open_cohort
from lesionloss.data.layouts import layouts
from lesionloss.data.preparation.import_prepared import import_prepared, is_prepared
from lesionloss.data.preparation.prepare_cohort import prepare_cohort
from lesionloss.data.preparation.recipe import PreparationRecipe, make_recipe
from lesionloss.runs.trial_manifest import MIXED
from lesionloss.training.mixture import Mixture


def load_run_cohort(plan: Plan, folder: Path, watcher: Watcher) -> RunCohort:
    """Find or make the plan's patients, prepare and read them all.

    Raises:
        UsageError: As `prepare_run_cohort`.
        DataError: As `prepare_run_cohort`.
    """
    listed = prepare_run_cohort(plan, folder, watcher)
    return listed.read(listed.shapes)


def prepare_run_cohort(plan: Plan, folder: Path, watcher: Watcher) -> ListedCohort:
    """Find or make the plan's patients and prepare them under `folder`/cohort; prepared ones are copied there.

    What the plan mixes into them is prepared in the same way, under `folder`/mixed/NAME.

    Raises:
        UsageError: The plan names no data, or what is mixed in does not fit them.
        DataError: A file is damaged, or no case is complete.
    """
    _prepare(plan, folder, watcher)
    own = list_cohort(folder / "cohort")
    for section in plan.data.mix:
        _prepare_mixture(plan, section, own, folder / MIXED / section.name, watcher)
    return read_run_cohort(folder)


def _prepare(plan: Plan, folder: Path, watcher: Watcher) -> None:
    place = folder / "cohort"
    if is_prepared(plan.data.source):
        if plan.data.prepare is not None:
            raise UsageError(f"data.prepare: {plan.data.source} is prepared already; leave it out, or name raw images")
        import_prepared(plan.data.source, place, plan.data.patients, plan.data.target)
        return
    cohort = _find_or_make(plan, folder, watcher)
    for case in cohort.incomplete:
        watcher.note(f"left out: {case.name}: {case.reason}")
    _check_complete(cohort)
    link_cohort(folder)
    prepare_cohort(cohort, place, plan.data.preparation, progress=watcher.cohort)


def _prepare_mixture(plan: Plan, section: MixSection, own: ListedCohort, place: Path, watcher: Watcher) -> None:
    """Prepare the cases of a mixture as the plan's own ones are, and write which they are and how they are mixed in."""
    recipe = make_recipe(own.preparation, f"{own.folder}")
    _prepare(plan.model_copy(update={"data": as_data(section, recipe)}), place, watcher)
    listed = list_cohort(place / "cohort")
    visible = section.synth_visible if section.source == "synth" else 0.0
    mixture = Mixture(section.name, section.shown_dataset(listed.dataset), section.share, visible)
    _check_mixture(mixture, own, listed)
    write_text(place / MIXTURE, mixture.text())


def as_data(section: MixSection, recipe: PreparationRecipe) -> DataSection:
    """Return a mixture's source as a plan's [data], prepared by `recipe` unless it is prepared already."""
    source = {key: getattr(section, key) for key in SourceSection.model_fields}
    return DataSection(**source, prepare=None if is_prepared(section.source) else recipe)


def _check_mixture(mixture: Mixture, own: ListedCohort, mixed: ListedCohort) -> None:
    """Raise UsageError where the cases of a mixture can't stand in one batch with a trial's own."""
    clash = next((name for name in own.shapes if name.startswith(mixture.prefix)), None)
    if clash is not None:
        raise UsageError(f"data.mix {mixture.name}: a case of data is named {clash}; give the mixture another name")
    if mixed.preparation != own.preparation:
        raise UsageError(
            f"data.mix {mixture.name}: its cases were prepared by other steps or settings than those of data; "
            "prepare both alike, or name raw images"
        )
    ours, theirs = (cohort.load(cohort.cases[0].name) for cohort in (own, mixed))
    check_mixed(mixture.name, theirs.channels, ours.channels, theirs.classes, ours.classes)


def check_mixed(
    name: str, channels: Sequence[str], own_channels: Sequence[str], classes: Sequence[str], own_classes: Sequence[str]
) -> None:
    """Compare the cases of a mixture with those of the plan's data; a single class may have any name.

    Raises:
        UsageError: Their channels or classes differ.
    """
    single = len(classes) == len(own_classes) == 1
    for what, theirs, ours in (("channels", channels, own_channels), ("classes", classes, own_classes)):
        if tuple(theirs) != tuple(ours) and not (what == "classes" and single):
            raise UsageError(
                f"data.mix {name}: its cases have the {what} {', '.join(theirs)}, those of data {', '.join(ours)}"
            )


def _find_or_make(plan: Plan, folder: Path, watcher: Watcher) -> Cohort:
    data = plan.data
    if data.source == "synth":
        from lesionloss.synth import profile_settings, write_cohort

        place = folder / "synthetic"
        changes = {"spacing_mm": data.synth_spacing_mm or "scanner", "ground_truth": data.synth_truth}
        settings = profile_settings(data.synth_profile, changes)
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
    for data in (plan.data, *(as_data(section, plan.data.preparation) for section in plan.data.mix)):
        if data.source not in BUILT_IN_SOURCES and not is_prepared(data.source):
            user_cohort(plan.model_copy(update={"data": data}))


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
    for files in cohort.cases:
        if files.reference is None:
            raise DataError(f"{cohort.root}: {files.name} has no reference; training and scores need one of every case")


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
