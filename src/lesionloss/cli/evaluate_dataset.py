"""References of a dataset for `lesionloss evaluate`: a target of its layout, derived case by case."""

from collections.abc import Mapping
from pathlib import Path

from lesionloss.core.errors import UsageError
from lesionloss.metrics.file_matching import EvaluatedFiles, MatchedFiles, images_in, listed


def check_references(references: Path | None, dataset: str, target: str) -> None:
    """Check that the references come from one place.

    Raises:
        UsageError: They come from two or from none, or there is a target without a dataset.
    """
    if references is not None and dataset:
        raise UsageError("REFERENCES and --references exclude each other; choose one")
    if references is None and not dataset:
        raise UsageError("evaluate needs references: a file or a folder, or --references DATASET")
    if target and not dataset:
        raise UsageError("--target is a target of a dataset; name the dataset with --references")


def match_dataset(
    predictions: Path, dataset: str, target: str, beside: Mapping[str, Path], folder: Path, *, maps: bool
) -> MatchedFiles:
    """Match predictions with the cases of a dataset, and write the reference of each.

    Args:
        predictions: A folder with CASE.nii.gz or CASE/new_lesions.nii.gz (`maps`: CASE/probability.nii.gz), or a file
            of that name, or any file if the dataset has one case.
        dataset: `PATH` or `layout:PATH`.
        target: A target of the layout; empty: the default one.
        beside: More files or folders, matched by the same names.
        folder: Where the references are written.
        maps: Whether the predictions are probability maps.

    Raises:
        UsageError: No case has a prediction, or as `open_cohort` and `images_in`.
        DataError: The images of a case can't be read.
    """
    from lesionloss.data.cohort import load_subject, open_cohort
    from lesionloss.data.nifti import write_volume

    cohort = open_cohort(dataset, target or None)
    inner = "probability" if maps else "new_lesions"
    files = {case.name: case for case in cohort.cases}
    found = _of_cases(predictions, inner, list(files))
    others = {kind: _of_cases(path, inner, list(files)) for kind, path in beside.items()}
    whole = [name for name in files if name in found and all(name in paths for paths in others.values())]
    if not whole:
        raise UsageError(
            f"{predictions}: no prediction of {listed(set(files))}; name them CASE.nii.gz or CASE/{inner}.nii.gz"
        )
    cases = []
    for name in whole:
        subject = load_subject(cohort, files[name])
        if subject.reference is None:
            raise UsageError(f"{dataset}: {name} has no reference; leave its prediction out")
        path = folder / f"{name}.nii.gz"
        write_volume(path, subject.reference.reshape((*subject.space, 1)[:3]), subject.affine)
        cases.append(EvaluatedFiles(name, found[name], path, {kind: paths[name] for kind, paths in others.items()}))
    lacking = {"prediction": set(files) - set(found), "reference": set(found) - set(files)}
    lacking |= {kind: set(found) - set(paths) for kind, paths in others.items()}
    return MatchedFiles(cases, [f"no {kind} for {listed(names)}" for kind, names in lacking.items() if names])


def _of_cases(path: Path, inner: str, names: list[str]) -> dict[str, Path]:
    """Files by case; those in the folder of a case only by their inner name."""
    if path.is_file():
        stem = path.name.removesuffix(".gz").removesuffix(".nii")
        fitting = [name for name in (stem, path.parent.name) if name in names] or names[: len(names) == 1]
        if not fitting:
            raise UsageError(f"{path}: of which of {listed(set(names))}? Rename it to CASE.nii.gz, or give a folder")
        return {fitting[0]: path}
    if not path.is_dir():
        raise UsageError(f"{path}: no such file or folder; check the path")
    found = {}
    for stem, file in images_in(path).items():
        case, _, rest = stem.partition("/")
        if not rest or rest == inner:
            found[case] = file
    return found
