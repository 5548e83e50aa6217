"""2018 Data Science Bowl: cell nuclei in microscopy (Caicedo et al., Nature Methods 2019; BBBC038).

The training set of stage 1: a folder per image with a mask per nucleus, or one `.npz` file with the arrays `images`
(N, rows, columns, 3), `masks` (N, rows, columns) of 0 and 1, and `ids` (N). All nuclei of an image are one class, and
each image counts as a patient. The images have several sizes.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lesionloss.core.errors import DataError
from lesionloss.core.npz_files import read_npz
from lesionloss.data.layouts.find_files import folders_in
from lesionloss.data.layouts.picture_folders import RGB, picture_case, picture_file, picture_stems, read_values
from lesionloss.data.layouts.records import (
    CaseArrays,
    CaseFiles,
    FoundCases,
    Incomplete,
    LabelRule,
    Layout,
    LayoutGroup,
    Target,
    published,
)

STAGE = "stage1_train"
ENDING = ".npz"


def _images(root: Path) -> list[Path]:
    start = root / STAGE if (root / STAGE).is_dir() else root
    return [folder for folder in folders_in(start) if (folder / "images").is_dir() or (folder / "masks").is_dir()]


def _recognise(root: Path) -> bool:
    return any(picture_file(folder / "images", folder.name) for folder in _images(root))


def _discover(root: Path) -> FoundCases:
    if root.is_file():
        ids = [str(name) for name in _arrays(root)["ids"]]
        return FoundCases(
            tuple(CaseFiles(name, name, ((root,),), root, None, part) for part, name in enumerate(ids)), ()
        )
    cases, incomplete = [], []
    for folder in _images(root):
        image = picture_file(folder / "images", folder.name)
        masks = [picture_file(folder / "masks", stem) for stem in picture_stems(folder / "masks")]
        present = tuple(mask for mask in masks if mask is not None)
        if image is None or not present:
            missing = f"images/{folder.name}.png" if image is None else "mask in masks/"
            incomplete.append(Incomplete(folder.name, f"no {missing}"))
        else:
            cases.append(
                CaseFiles(folder.name, folder.name, ((image,),), present[0], None, more_references=present[1:])
            )
    return FoundCases(tuple(cases), tuple(incomplete))


def _read(files: CaseFiles) -> CaseArrays:
    if files.part is not None:
        return _read_part(files.visits[0][0], files.part)
    nuclei = [_nucleus(path) for path in (files.reference, *files.more_references) if path is not None]
    sizes = {mask.shape for mask in nuclei}
    if len(sizes) > 1:
        raise DataError(
            f"{files.reference}: the masks of {files.name} differ in size: {sorted(sizes)}; fetch them again"
        )
    return picture_case(files, RGB, np.any(nuclei, axis=0).astype(np.int32))


def _nucleus(path: Path) -> npt.NDArray[np.bool_]:
    values = read_values(path)
    if not np.isin(values, (0, 255)).all():
        raise DataError(
            f"{path}: a mask of a nucleus holds 0 and 255 only; found {np.unique(values)[:5]}: fetch it again"
        )
    return np.asarray(values == 255, dtype=np.bool_)


def _read_part(path: Path, part: int) -> CaseArrays:
    arrays = _arrays(path)
    image = np.ascontiguousarray(arrays["images"][part].transpose(2, 1, 0), dtype=np.float32)
    if image.min() == image.max():
        raise DataError(f"{path}: every pixel of image {part} is {image.flat[0]:g}; fetch the file again")
    return CaseArrays((image,), np.ascontiguousarray(arrays["masks"][part].T).astype(np.int32), None, np.eye(4))


def _arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    state = path.stat()
    return _arrays_as_of(path, state.st_mtime_ns, state.st_size)


# Compressed arrays can't be read in part, and cases are read one after the other: the file last read is kept.
@lru_cache(maxsize=1)
def _arrays_as_of(path: Path, modified_ns: int, size: int) -> dict[str, npt.NDArray[Any]]:
    try:
        stored = read_npz(path, lambda name: name in ("images", "masks", "ids"))
        arrays = {key: stored[key] for key in ("images", "masks", "ids")}
    except KeyError as error:
        raise DataError(f"{path}: not the nuclei file: it lacks an array: {error.args[0]}") from error
    except ValueError as error:
        raise DataError(f"{path}: can't be read ({error}); fetch it again") from error
    shape = (len(arrays["ids"]), *arrays["images"].shape[1:3])
    if arrays["images"].ndim != 4 or arrays["images"].shape != (*shape, 3) or arrays["masks"].shape != shape:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
        raise DataError(
            f"{path}: expected images (N, rows, columns, 3), masks (N, rows, columns), ids (N); got {shapes}"
        )
    return arrays


LAYOUT = Layout(
    name="dsb2018",
    title="2018 Data Science Bowl, cell nuclei in microscopy",
    looks_like="[stage1_train/]ID/{images/ID.png,masks/*.png}, or a .npz file with images, masks, ids",
    recognise=_recognise,
    discover=_discover,
    targets=(Target("nuclei", "all nuclei of an image", published),),
    contrasts=RGB,
    labels=LabelRule(classes=("nucleus",)),
    read=_read,
    file_ending=ENDING,
    group=LayoutGroup.PICTURES,
    tested_on="the `.npz` file, 664 images",
)
