"""What can be predicted: raw visits, a dataset's folder, cases that were prepared before. No image is read here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionloss.core.argument_types import with_checked_types
from lesionloss.core.errors import UsageError
from lesionloss.data.cohort import Cohort, open_cohort
from lesionloss.data.cohort_index import INDEX, load_index
from lesionloss.data.dicom_headers import is_series
from lesionloss.data.layouts.records import CaseFiles, FoundCases, Layout, Target, published

_RAW = Layout(
    name="files",
    title="files named on the command line",
    looks_like="baseline.nii.gz and followup.nii.gz",
    recognise=lambda _: False,
    discover=lambda _: FoundCases((), ()),
    targets=(Target("new_lesions", "new lesions", published),),
)


@dataclass(frozen=True)
class CaseSource:
    """One case: either raw `files` of a `cohort`, or the file of a `prepared` case."""

    name: str
    patient: str
    session: str = ""
    cohort: Cohort | None = None
    files: CaseFiles | None = None
    prepared: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """Every file that the prediction is made from."""
        if self.prepared is not None:
            return (self.prepared,)
        assert self.files is not None
        images = tuple(path for visit in self.files.visits for path in visit)
        return images if self.files.brain is None else (*images, self.files.brain)


@with_checked_types
def source_of_files(baseline: Sequence[Path], followup: Sequence[Path], brain: Path | None = None) -> CaseSource:
    """A case from the files of its visits.

    Args:
        baseline: Files of the first visit, or DICOM series, one for each contrast in the model's order; may be empty.
        followup: The same for the second visit, or the only one.
        brain: A brain mask on the visits' grid.

    Raises:
        UsageError: if the second visit is missing, or the visits have different numbers of contrasts.
    """
    if not followup:
        raise UsageError("--followup is missing; give the file of the second visit (or of the only one)")
    if baseline and len(baseline) != len(followup):
        raise UsageError(
            f"--baseline has {len(baseline)} files, --followup {len(followup)}; give the same contrasts, in one order"
        )
    visits = tuple(tuple(visit) for visit in (baseline, followup) if visit)
    subject, session = _bids_part("sub", followup[0]), _bids_part("ses", followup[0])
    name = subject or ("case" if is_series(followup[0]) else _stem(followup[0]))  # folders may be named after a patient
    files = CaseFiles(name, name, visits, reference=None, brain=brain)
    cohort = Cohort(_RAW, _RAW.targets[0], followup[0].parent, (files,), ())
    return CaseSource(name, name, session, cohort, files)


@with_checked_types
def sources_in(place: str) -> tuple[tuple[CaseSource, ...], tuple[str, ...]]:
    """The cases of a dataset's folder (`PATH` or `layout:PATH`), of a folder of prepared cases, or of one .npz file.

    Returns:
        The cases, and a line for each patient that was left out.

    Raises:
        UsageError: for a file that is not there, and as `open_cohort` does.
        DataError: as `load_index` does.
    """
    path = Path(place).expanduser()
    if path.suffix == ".npz":
        if not path.is_file():
            raise UsageError(f"{path}: no such prepared case; name the file or a folder of images")
        return (CaseSource(path.stem, path.stem, prepared=path),), ()
    if (path / INDEX).is_file():
        entries = load_index(path).cases
        found = tuple(CaseSource(entry.name, entry.patient, prepared=path / f"{entry.name}.npz") for entry in entries)
        return found, ()
    cohort = open_cohort(place)
    left_out = tuple(f"left out: {case.name}: {case.reason}" for case in cohort.incomplete)
    sources = (_of_cohort(cohort, files) for files in cohort.cases)
    return tuple(sources), left_out


def _of_cohort(cohort: Cohort, files: CaseFiles) -> CaseSource:
    return CaseSource(files.name, files.patient, _bids_part("ses", files.visits[-1][0]), cohort, files)


def _bids_part(key: str, path: Path) -> str:
    """The label of an entity in a name such as sub-01_ses-02_FLAIR.nii.gz; empty where there is none."""
    found = re.search(rf"(?:^|_){key}-([A-Za-z0-9]+)", path.name)
    return found.group(1) if found else ""


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
