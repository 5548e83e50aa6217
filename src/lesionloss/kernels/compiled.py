"""The background voxels by machine code, where numba is installed (`pip install lesionloss[fast]`)."""

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
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


def compiled_sums(image: Image, plan: Plan) -> Tensor:
    """As `background_sums`."""
    code = loops()
    if code is None or not takes(image, plan):
        return background_sums(image, plan)
    arguments = _arguments(image, plan)

    def add(start: int, stop: int) -> np.ndarray[Any, Any]:
        result = np.zeros(raw_of(plan, max(2, len(image.logits))).length)
        code.sums(arguments[0], start, stop, *arguments[1:], result)
        return result

    return torch.from_numpy(np.sum(_in_parts(image, add), axis=0))


def compiled_gradient(image: Image, plan: Plan, weights: Tensor, out: Tensor) -> None:
    """As `background_gradient`."""
    code = loops()
    if code is None or not takes(image, plan):
        background_gradient(image, plan, weights, out)
        return
    arguments, of_sums, into = _arguments(image, plan), weights.numpy(), out.numpy()

    def write(start: int, stop: int) -> None:
        code.gradient(arguments[0], start, stop, *arguments[1:], of_sums, into)

    _in_parts(image, write)


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


def _in_parts(image: Image, work: Callable[[int, int], T]) -> list[T]:
    """Cut the voxels into as many parts as torch has threads, at the seams of blocks, and wait for all."""
    code = loops()
    channels, voxels = image.logits.shape
    parts = max(1, min(torch.get_num_threads(), channels * voxels // WORTH_A_THREAD))
    if parts == 1 or code is None:
        return [work(0, voxels)]
    step = -(-voxels // parts // code.BLOCK) * code.BLOCK
    edges = [(start, min(start + step, voxels)) for start in range(0, voxels, step)]
    others = [_threads().submit(work, *edge) for edge in edges[1:]]
    return [work(*edges[0]), *(other.result() for other in others)]


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(thread_name_prefix="lesionloss")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # threads do not survive a fork
