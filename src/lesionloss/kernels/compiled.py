"""The background voxels by machine code, where numba is installed (`pip install lesionloss[fast]`)."""

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from lesionloss.kernels.background import Image, background_gradient, background_sums
from lesionloss.kernels.lesions import positions
from lesionloss.kernels.plan import Plan, raw_of
from lesionloss.kernels.terms import CrossEntropy, Focal, Tail, Term

T = TypeVar("T")

WORTH_A_THREAD = 1 << 15  # numbers: less than that is done before another thread has woken up


def installed() -> bool:
    """Whether numba is there; it is not imported for the answer."""
    return importlib.util.find_spec("numba") is not None


@cache
def loops() -> ModuleType | None:
    """The compiled functions, or None where numba can't be imported."""
    try:
        from lesionloss.kernels import loops
    except ImportError:
        return None
    return loops


def takes(image: Image, plan: Plan) -> bool:
    known = all(type(term) in (CrossEntropy, Focal, Tail) for term in plan.on_background)
    return known and image.logits.dtype == torch.float32 and loops() is not None


def compiled_sums(images: list[Image], plan: Plan) -> Tensor:
    """As `background_sums`."""
    code = loops()
    if code is None or not takes(images[0], plan):
        return background_sums(images, plan)
    arguments = [_arguments(image, plan) for image in images]
    length = raw_of(plan, max(2, len(images[0].logits))).length

    def add(pieces: list[_Piece]) -> np.ndarray[Any, Any]:
        result = np.zeros((len(images), length))
        for piece in pieces:
            logits, *others = arguments[piece.image]
            code.sums(logits, piece.start, piece.stop, *others, result[piece.image])
        return result

    return torch.from_numpy(np.sum(_in_parts(images, add), axis=0))


def compiled_gradient(images: list[Image], plan: Plan, weights: Tensor, outs: list[Tensor]) -> None:
    """As `background_gradient`."""
    code = loops()
    if code is None or not takes(images[0], plan):
        background_gradient(images, plan, weights, outs)
        return
    arguments = [_arguments(image, plan) for image in images]
    of_sums, into = weights.contiguous().numpy(), [out.numpy() for out in outs]

    def write(pieces: list[_Piece]) -> None:
        for piece in pieces:
            logits, *others = arguments[piece.image]
            code.gradient(logits, piece.start, piece.stop, *others, of_sums[piece.image], into[piece.image])

    _in_parts(images, write)


def compiled_positions(labels: Tensor) -> Tensor:
    """As `positions`."""
    code = loops()
    if code is None:
        return positions(labels)
    flat = labels.detach().contiguous().view(-1).numpy()
    size = 8 if flat.itemsize == 1 and flat.size % 8 == 0 and flat.ctypes.data % 8 == 0 else 1
    words = flat.view(np.uint64) if size == 8 else flat
    out = np.empty(size * code.count(words), np.int64)
    return torch.from_numpy(out[: code.find(words, size, flat, out)])


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


@dataclass(frozen=True)
class _Piece:
    """Voxels start to stop of one of the images."""

    image: int
    start: int
    stop: int


def _in_parts(images: list[Image], work: Callable[[list[_Piece]], T]) -> list[T]:
    """Give each thread its share of the voxels of all images, cut at the seams of blocks, and wait for all."""
    code = loops()
    block: int = 1 if code is None else code.BLOCK
    sizes = [image.logits.shape[1] for image in images]
    parts = max(1, min(torch.get_num_threads(), len(images[0].logits) * sum(sizes) // WORTH_A_THREAD))
    share = -(-sum(sizes) // parts // block) * block
    pieces: list[list[_Piece]] = [[] for _ in range(parts)]
    part, left = 0, share
    for image, size in enumerate(sizes):
        start = 0
        while start < size:
            stop = size if part == parts - 1 else min(size, start + left)
            pieces[part].append(_Piece(image, start, stop))
            left -= -(-(stop - start) // block) * block
            start = stop
            if left <= 0 and part < parts - 1:
                part, left = part + 1, share
    others = [_threads().submit(work, some) for some in pieces[1:] if some]
    return [work(pieces[0]), *(other.result() for other in others)]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="lesionloss")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not survive a fork
