"""What can be predicted: raw visits, a dataset's folder, cases that were prepared before. Nothing is read here yet."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lesionloss.core.errors import UsageError
from lesionloss.data.cohort import Cohort, open_cohort
from lesionloss.data.cohort_index import INDEX, load_index
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
class Source:
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


def source_of_files(baseline: Sequence[Path], followup: Sequence[Path], brain: Path | None = None) -> Source:
    """A case from the files of its visits: one contrast each or several in the model's order; baseline may be empty.

    Raises UsageError if the visits have different numbers of contrasts.
    """
    if not followup:
        raise UsageError("--followup is missing; give the file of the second visit (or of the only one)")
    if baseline and len(baseline) != len(followup):
        raise UsageError(
            f"--baseline has {len(baseline)} files, --followup {len(followup)}; give the same contrasts, in one order"
        )
    visits = tuple(tuple(visit) for visit in (baseline, followup) if visit)
    subject, session = _bids_part("sub", followup[0]), _bids_part("ses", followup[0])
    name = subject or _stem(followup[0])
    files = CaseFiles(name, name, visits, reference=None, brain=brain)
    cohort = Cohort(_RAW, _RAW.targets[0], followup[0].parent, (files,), ())
    return Source(name, name, session, cohort, files)


def sources_in(place: str) -> tuple[tuple[Source, ...], tuple[str, ...]]:
    """The cases of a dataset's folder (`PATH` or `layout:PATH`), of a folder of prepared cases, or of one .npz file.

    Also gives a line for each patient left out. Raises as `open_cohort` and `load_index` do.
    """
    path = Path(place).expanduser()
    if path.suffix == ".npz":
        if not path.is_file():
            raise UsageError(f"{path}: no such prepared case; name the file or a folder of images")
        return (Source(path.stem, path.stem, prepared=path),), ()
    if (path / INDEX).is_file():
        entries = load_index(path).cases
        found = tuple(Source(entry.name, entry.patient, prepared=path / f"{entry.name}.npz") for entry in entries)
        return found, ()
    cohort = open_cohort(place)
    left_out = tuple(f"left out: {case.name}: {case.reason}" for case in cohort.incomplete)
    sources = (_of_cohort(cohort, files) for files in cohort.cases)
    return tuple(sources), left_out


def _of_cohort(cohort: Cohort, files: CaseFiles) -> Source:
    return Source(files.name, files.patient, _bids_part("ses", files.visits[-1][0]), cohort, files)


def _bids_part(key: str, path: Path) -> str:
    """The label of an entity in a name such as sub-01_ses-02_FLAIR.nii.gz; empty where there is none."""
    found = re.search(rf"(?:^|_){key}-([A-Za-z0-9]+)", path.name)
    return found.group(1) if found else ""


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
