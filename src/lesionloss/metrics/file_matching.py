"""Match predictions, references and further files of a case by their names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lesionloss.core.errors import DataError, UsageError

ENDINGS = (".nii.gz", ".nii")
SHOWN = 5


@dataclass(frozen=True)
class EvaluatedFiles:
    """The files of one case; `beside` holds what was given of "probabilities", "brain" and "ignore"."""

    name: str
    prediction: Path
    reference: Path
    beside: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class MatchedFiles:
    """Cases with all their files, and one sentence for each kind of file without a partner."""

    cases: list[EvaluatedFiles]
    unmatched: list[str]


def _stem(path: Path) -> str:
    ending = next(ending for ending in ENDINGS if path.name.endswith(ending))
    return path.as_posix().removesuffix(ending)


def files_below(folder: Path, parents: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """Every file below a folder; a link back to a folder that holds it is not followed.

    Raises:
        UsageError: a folder can't be read.
    """
    here = folder.resolve()
    if here in parents:
        return
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: can't be read ({error.strerror}); check its permissions") from error
    for path in paths:
        if path.is_dir():
            yield from files_below(path, parents | {here})
        else:
            yield path


def images_in(folder: Path) -> dict[str, Path]:
    """NIfTI files below a folder, by their path without the ending; hidden ones (._name of macOS) are ignored.

    Links to folders are followed, and links that lead nowhere are listed: reading them says so.

    Raises:
        UsageError: for none, one name twice, or a folder that can't be read.
    """
    found: dict[str, Path] = {}
    for path in sorted(files_below(folder)):
        if path.name.endswith(ENDINGS) and not path.name.startswith("."):
            name = _stem(path.relative_to(folder))
            if name in found:
                raise UsageError(f"{path} and {found[name]} have one name; keep one of them")
            found[name] = path
    if not found:
        raise UsageError(f"{folder}: no .nii or .nii.gz file in it; give a folder of NIfTI files")
    return found


def listed(names: set[str]) -> str:
    """The first few names, and how many more there are."""
    shown = sorted(names)
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")


def _check(path: Path) -> None:
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder; check the path")


def _match_files(prediction: Path, reference: Path, beside: Mapping[str, Path]) -> MatchedFiles:
    for path in (prediction, reference, *beside.values()):
        if path.is_dir():
            raise UsageError(f"{path} is a folder and {prediction} isn't; give files only or folders only")
        if not path.name.endswith(ENDINGS):
            raise UsageError(f"{path}: not a NIfTI file by its name; expected .nii or .nii.gz")
    return MatchedFiles([EvaluatedFiles(_stem(Path(prediction.name)), prediction, reference, beside)], [])


def match_files(predictions: Path, references: Path, beside: Mapping[str, Path]) -> MatchedFiles:
    """Match two files, or the files of two folders whose paths below the folder differ at most in .nii and .nii.gz.

    Args:
        predictions: A file or a folder.
        references: The same.
        beside: More files or folders, e.g. {"brain": folder}, matched in the same way.

    Raises:
        UsageError: for a path that does not exist, a file beside a folder, and if nothing matches.
    """
    for path in (predictions, references, *beside.values()):
        _check(path)
    if not predictions.is_dir():
        return _match_files(predictions, references, beside)
    for path in (references, *beside.values()):
        if not path.is_dir():
            raise UsageError(f"{path} is a file and {predictions} is a folder; give files only or folders only")
    found = {"prediction": images_in(predictions), "reference": images_in(references)}
    found |= {kind: images_in(folder) for kind, folder in beside.items()}
    common = set.intersection(*(set(names) for names in found.values()))
    cases = [
        EvaluatedFiles(
            name, found["prediction"][name], found["reference"][name], {kind: found[kind][name] for kind in beside}
        )
        for name in sorted(common)
    ]
    wanted = set(found["prediction"]) | set(found["reference"])
    unmatched = [f"no {kind} for {listed(wanted - set(names))}" for kind, names in found.items() if wanted - set(names)]
    if not cases:
        raise UsageError(f"no name is in all folders: {'; '.join(unmatched)}; files are matched by name")
    return MatchedFiles(cases, unmatched)


def require_all(matched: MatchedFiles) -> None:
    """Check that every file has a partner: a case without a prediction must not be left out silently.

    Raises:
        DataError: if one has none.
    """
    if matched.unmatched:
        raise DataError(
            f"{'; '.join(matched.unmatched)}; add or rename the files, or leave them out with --matched-only"
        )
