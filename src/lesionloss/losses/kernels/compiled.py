"""The background voxels by machine code, where numba is installed (`pip install lesionloss[fast]`)."""

import importlib.util
import itertools
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lesionloss.losses.kernels.background import Image, background_gradient, background_sums, is_finite
from lesionloss.losses.kernels.columns import COLUMNS, LARGEST
from lesionloss.losses.kernels.lesions import Found, find_lesions, found_at
from lesionloss.losses.kernels.plan import Plan, raw_of
from lesionloss.losses.kernels.pull import single_gradient
from lesionloss.losses.kernels.sharing import Piece, in_parts
from lesionloss.losses.kernels.single import single_sums
from lesionloss.losses.kernels.terms import CrossEntropy, Focal, Tail, Term


def installed() -> bool:
    """Whether numba is there; it is not imported for the answer."""
    return importlib.util.find_spec("numba") is not None


@cache
def loops() -> ModuleType | None:
    """The compiled functions, or None where numba can't be imported."""
    try:
        from lesionloss.losses.kernels import loops
    except ImportError:
        return None
    return loops


def ready() -> bool:
    """Whether compiled functions can be used."""
    return loops() is not None


def takes(image: Image, plan: Plan) -> bool:
    known = all(type(term) in (CrossEntropy, Focal, Tail) for term in plan.on_background)
    return known and image.logits.dtype == torch.float32 and loops() is not None


def _numbers(pieces: list[Piece]) -> np.ndarray[Any, Any]:
    return np.array([(at.image, at.start, at.stop) for at in pieces], np.int64).reshape(-1, 3)


def _inside(valid: Tensor | None, rows: int) -> np.ndarray[Any, Any]:
    return np.empty((rows, 0), np.bool_) if valid is None else np.asarray(valid.numpy())


def walk_found(logits: Tensor, labels: Tensor, valid: Tensor | None, with_logs: bool) -> Tensor:
    """See `Walk.found`."""
    from lesionloss.losses.kernels import walk

    z, y, inside = logits.numpy(), labels.numpy(), _inside(valid, len(logits))

    def add(pieces: list[Piece]) -> np.ndarray[Any, Any]:
        found = np.zeros((len(z), COLUMNS))
        walk.walk_pieces(z, y, inside, _numbers(pieces), with_logs, found)
        return found

    parts = np.stack(in_parts([z.shape[1]] * len(z), 1, add))
    found = parts.sum(axis=0)
    found[:, LARGEST] = parts[:, :, LARGEST].max(axis=0)
    return torch.from_numpy(found)


def walk_pull(logits: Tensor, labels: Tensor, valid: Tensor | None, weights: Tensor) -> Tensor:
    """See `Walk.pull`."""
    from lesionloss.losses.kernels import walk

    z, y, inside, of_found = logits.numpy(), labels.numpy(), _inside(valid, len(logits)), weights.numpy()
    out = np.empty_like(z)

    def write(pieces: list[Piece]) -> None:
        walk.pull_pieces(z, y, inside, _numbers(pieces), of_found, out)

    in_parts([z.shape[1]] * len(z), 1, write)
    return torch.from_numpy(out)


def compiled_sums(images: list[Image], plan: Plan) -> tuple[Tensor, Tensor]:
    """As `background_sums`, but keeps nothing."""
    code = loops()
    if code is None or not takes(images[0], plan):
        return background_sums(images, plan)
    arguments = [_arguments(image, plan) for image in images]
    length = raw_of(plan, max(2, len(images[0].logits))).length

    def add(pieces: list[Piece]) -> np.ndarray[Any, Any]:
        result = np.zeros((len(images), length))
        for piece in pieces:
            logits, *others = arguments[piece.image]
            code.sums(logits, piece.start, piece.stop, *others, result[piece.image])
        return result

    sums = np.sum(in_parts([image.logits.shape[1] for image in images], len(images[0].logits), add), axis=0)
    sums[[not is_finite(image.logits) for image in images]] = np.nan
    return torch.from_numpy(sums), images[0].logits.new_empty(0)


def compiled_gradient(kept: Tensor, images: list[Image], plan: Plan, weights: Tensor, outs: list[Tensor]) -> None:
    """As `background_gradient`."""
    code = loops()
    if code is None or len(kept):
        background_gradient(kept, images, plan, weights, outs)
        return
    arguments = [_arguments(image, plan) for image in images]
    of_sums, into = weights.contiguous().numpy(), [out.numpy() for out in outs]

    def write(pieces: list[Piece]) -> None:
        for piece in pieces:
            logits, *others = arguments[piece.image]
            code.gradient(logits, piece.start, piece.stop, *others, of_sums[piece.image], into[piece.image])

    in_parts([image.logits.shape[1] for image in images], len(images[0].logits), write)


def compiled_single_sums(logits: Tensor, where: Tensor, valid: Tensor | None, plan: Plan) -> tuple[Tensor, Tensor]:
    """As `single_sums`, but keeps no p."""
    images = single_images(logits, where, valid)
    if loops() is None or not takes(images[0], plan):
        return single_sums(logits, where, valid, plan)
    return compiled_sums(images, plan)


def compiled_single_gradient(
    p: Tensor, logits: Tensor, valid: Tensor | None, plan: Plan, weights: Tensor, out: Tensor
) -> None:
    """As `single_gradient`."""
    if len(p):
        single_gradient(p, logits, valid, plan, weights, out)
        return
    nowhere = torch.empty(0, dtype=torch.int64)
    compiled_gradient(p, single_images(logits, nowhere, valid), plan, weights, list(out[:, None]))


def single_images(logits: Tensor, where: Tensor, valid: Tensor | None) -> list[Image]:
    """Each row of logits (R, V)."""
    rows, voxels = logits.shape
    bounds = torch.searchsorted(where, torch.arange(rows + 1) * voxels).tolist()
    return [
        Image(logits[row, None], None if valid is None else valid[row], where[low:high] - row * voxels)
        for row, (low, high) in enumerate(itertools.pairwise(bounds))
    ]


def compiled_find(labels: Tensor) -> Found:
    """As `find_lesions`."""
    code = loops()
    if code is None:
        return find_lesions(labels)
    flat = labels.detach().contiguous().view(-1).numpy()
    size = 8 if flat.itemsize == 1 and flat.size % 8 == 0 and flat.ctypes.data % 8 == 0 else 1
    words = flat.view(np.uint64) if size == 8 else flat
    out = np.empty(size * code.count(words), np.int64)
    where = out[: code.find(words, size, flat, out)]
    return found_at(where, flat[where])


_Arguments = tuple[
    np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any], bool, np.ndarray[Any, Any], np.ndarray[Any, Any]
]


def _arguments(image: Image, plan: Plan) -> _Arguments:
    logits = np.ascontiguousarray(image.logits.detach().numpy())
    valid = np.empty(0, np.bool_) if image.valid is None else np.ascontiguousarray(image.valid.numpy())
    powers = np.array(plan.powers, np.float64)
    terms = np.array([_row(term) for term in plan.on_background], np.float64).reshape(-1, 4)
    return logits, np.ascontiguousarray(image.lesions.numpy()), valid, bool(plan.sharpens), powers, terms


def _row(term: Term) -> tuple[float, float, float, float]:
    """Kind, gamma, and where a series is used, with how many terms."""
    code = loops()
    if isinstance(term, Tail) and code is not None:
        return (code.TAIL, term.gamma, *term.series(torch.float32))
    if isinstance(term, Focal) and code is not None:
        return (code.FOCAL, term.gamma, 0.0, 0.0)
    return (0.0, 0.0, 0.0, 0.0)
