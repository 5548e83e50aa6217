"""The patients of a run as its trials see them: prepared cases in RUN/cohort, and those of mixtures in RUN/mixed."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lesionloss.data.cohort_index import CaseEntry, load_index
from lesionloss.data.prepared import PreparedCase, load_prepared
from lesionloss.data.visible_lesions import visible_only
from lesionloss.runs.trial_manifest import MIXED
from lesionloss.training.mixture import Mixture, read_mixture
from lesionloss.training.trial import Trial

MIXTURE = "mixture.txt"  # the text of a mixture, beside its cohort


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
        mixtures: Texts of what is mixed into the training cases.
        mixed: The cases of the mixtures; never tested or validated on.
    """

    dataset: str
    target: str
    loads: Mapping[str, float]
    cases: tuple[PreparedCase, ...]
    preparation: Mapping[str, Any] = field(default_factory=dict)
    case_loads: Mapping[str, float] = field(default_factory=dict)
    mixtures: tuple[str, ...] = ()
    mixed: tuple[PreparedCase, ...] = ()

    @property
    def mixed_names(self) -> tuple[str, ...]:
        """Names of the cases of all mixtures."""
        return tuple(case.name for case in self.mixed)

    def named(self, names: Sequence[str]) -> list[PreparedCase]:
        """Return the cases of these names, in this order."""
        by_name = {case.name: case for case in (*self.cases, *self.mixed)}
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
    mixed: "tuple[MixedCohort, ...]" = ()

    @property
    def mixtures(self) -> tuple[str, ...]:
        """Texts of what is mixed into the training cases."""
        return tuple(mixed.mixture.text() for mixed in self.mixed)

    @property
    def mixed_names(self) -> tuple[str, ...]:
        """Names of the cases of all mixtures."""
        return tuple(name for mixed in self.mixed for name in mixed.shapes)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Voxels along each axis of every case, those of mixtures at the end."""
        own = {entry.name: entry.shape for entry in self.cases}
        return own | {name: shape for mixed in self.mixed for name, shape in mixed.shapes.items()}

    def load(self, name: str) -> PreparedCase:
        """Read one case.

        Raises:
            DataError: Its file is damaged or missing.
        """
        mixed = next((mixed for mixed in self.mixed if name in mixed.shapes), None)
        return load_prepared(self.folder / f"{name}.npz") if mixed is None else mixed.load(name)

    def named(self, names: Sequence[str]) -> list[PreparedCase]:
        """Read the cases of these names.

        Raises:
            DataError: A file is damaged or missing.
        """
        return [self.load(name) for name in names]

    def read(self, names: Collection[str], load: Callable[[str], PreparedCase] | None = None) -> RunCohort:
        """Read the cases of these names, in the order of the index.

        Args:
            names: Names of cases, those of mixtures too.
            load: Reads a case; None: `load` of this cohort.

        Raises:
            DataError: A file is damaged or missing.
        """
        wanted = set(names)
        own, mixed = (
            tuple((load or self.load)(name) for name in there if name in wanted)
            for there in ([entry.name for entry in self.cases], self.mixed_names)
        )
        about = (self.dataset, self.target, self.loads, own, self.preparation, self.case_loads)
        return RunCohort(*about, self.mixtures, mixed)


@dataclass
class CaseReader:
    """Reads prepared cases when a trial first needs them; `keep` keeps them for the next trials."""

    listed: ListedCohort
    keep: bool = False
    _read: dict[str, PreparedCase] = field(default_factory=dict)

    def of(self, trial: Trial) -> RunCohort:
        """Return the cases that a trial is trained and tested on.

        Raises:
            DataError: A file is damaged or missing.
        """
        return self.listed.read({*trial.train, *trial.test}, self._load)

    def _load(self, name: str) -> PreparedCase:
        if not self.keep:
            return self.listed.load(name)
        if name not in self._read:
            self._read[name] = self.listed.load(name)
        return self._read[name]


@dataclass(frozen=True)
class MixedCohort:
    """A cohort whose cases are mixed into the training cases of another one, under names of their own."""

    mixture: Mixture
    listed: ListedCohort

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Voxels along each axis of each case, by the name that it has in the mixture."""
        return {f"{self.mixture.prefix}{entry.name}": entry.shape for entry in self.listed.cases}

    def load(self, name: str) -> PreparedCase:
        """Read the case of this name in the mixture.

        Raises:
            DataError: Its file is damaged or missing, or has no difference to see a lesion in.
        """
        case = self.listed.load(name.removeprefix(self.mixture.prefix))
        case = visible_only(case, self.mixture.visible) if self.mixture.visible else case
        return replace(case, name=name, patient=f"{self.mixture.prefix}{case.patient}")


def read_run_cohort(folder: Path) -> ListedCohort:
    """Return the cohort that a run folder holds, and what is mixed into it.

    Raises:
        DataError: It holds none.
    """
    places = sorted((folder / MIXED).glob(f"*/{MIXTURE}"))
    mixed = [(read_mixture(place.read_text(encoding="utf-8")), place.parent) for place in places]
    return replace(list_cohort(folder / "cohort"), mixed=tuple(MixedCohort(m, read_run_cohort(at)) for m, at in mixed))


def list_cohort(place: Path) -> ListedCohort:
    """Return the prepared cohort in a folder; the name of its data set has a digest of all content.

    Raises:
        DataError: The folder has no index.
    """
    index = load_index(place)
    content = " ".join(f"{entry.name} {entry.content_sha256}" for entry in index.cases)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    dataset, loads = f"{index.layout}-{digest}", index.patient_loads()
    case_loads = {entry.name: entry.reference_mm3 for entry in index.cases}
    return ListedCohort(dataset, index.target, loads, index.cases, place, index.preparation, case_loads)
