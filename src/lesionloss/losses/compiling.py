"""Losses inside `torch.compile`.

On the CPU a loss stays one operation, because its kernel is faster than what a compiler makes of the equations. The
operation gives values and gradient at once; the backward pass scales the gradient.
"""

import itertools
import os
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from lesionloss.losses.criterion import Loss

_losses: "weakref.WeakValueDictionary[str, Loss]" = weakref.WeakValueDictionary()
_numbers = itertools.count()


def register(loss: "Loss") -> str:
    """A name under which the operation finds the loss while it lives."""
    name = f"{next(_numbers)}"
    _losses[name] = loss
    return name


@torch.library.custom_op("lesionloss::by_hand", mutates_args=())
def by_hand(logits: Tensor, labels: Tensor, valid: Tensor | None, loss: str) -> tuple[Tensor, Tensor]:
    """Values of the images, and the gradient of their sum."""
    call = partial(_values_and_gradient, _losses[loss], logits, labels, valid)
    if _can_record_here():
        with _recording():
            return call()
    return _with_autograd().submit(call).result()


def _can_record_here() -> bool:
    names = ("_ForceDispatchKeyGuard", "_dispatch_tls_local_include_set", "_dispatch_tls_local_exclude_set")
    return all(hasattr(torch._C, name) for name in names)


@contextmanager
def _recording() -> Iterator[None]:
    """Where an operation is carried out, torch records no gradients; here it does.

    Another thread would do that too, but it would have a team of OpenMP of its own, and the processors would have to
    be shared with the first team, which waits busily: a loss took up to twice as long.
    """
    included, excluded = torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()
    for key in ("AutogradOther", "AutogradCPU", "AutogradFunctionality"):
        excluded = excluded.remove(getattr(torch._C.DispatchKey, key))
    with torch._C._ForceDispatchKeyGuard(included, excluded), torch.enable_grad():
        yield


def _values_and_gradient(loss: "Loss", logits: Tensor, labels: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().requires_grad_()
    values = loss.per_image(leaf, labels, valid)
    (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradient


@cache
def _with_autograd() -> ThreadPoolExecutor:
    """A thread of its own, in which gradients are recorded."""
    return ThreadPoolExecutor(1, thread_name_prefix="lesionloss-compiled")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_with_autograd.cache_clear)  # threads do not survive a fork


@by_hand.register_fake
def _(logits: Tensor, labels: Tensor, valid: Tensor | None, loss: str) -> tuple[Tensor, Tensor]:
    images = 1 if _losses[loss].options.pooled else logits.shape[0]
    kind = torch.float32 if logits.dtype in (torch.float16, torch.bfloat16) else logits.dtype
    return logits.new_empty((images,), dtype=kind), torch.empty_like(logits)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1])


def _scale(ctx: Any, values: Tensor, gradient: Tensor) -> tuple[Tensor, None, None, None]:
    """An image's value depends on its own logits only, or, pooled, there is but one value."""
    (unit,) = ctx.saved_tensors
    return unit * values.to(unit.dtype).view(-1, *[1] * (unit.dim() - 1)), None, None, None


by_hand.register_autograd(_scale, setup_context=_remember)


def stays_one_operation(logits: Tensor) -> bool:
    """Whether a compiler is at work for which the loss is better one operation: not for export, not on a GPU."""
    return torch.compiler.is_dynamo_compiling() and not torch.compiler.is_exporting() and logits.device.type == "cpu"
