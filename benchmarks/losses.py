"""Time and memory of the losses beside those of MONAI and torch: forward and backward, in one process, in turns.

    python benchmarks/losses.py                                # three cases, all kernels that are installed
    python benchmarks/losses.py --cases binary --rounds 40     # more rounds where other programs run
    python benchmarks/losses.py --compile                      # torch.compile too (minutes)
    python benchmarks/losses.py --threads 1 --cpu-time         # where other programs run: seconds of this process only
    python benchmarks/losses.py --device cuda                  # readable and Triton

A round calls everybody once, so that a disturbance meets all alike. The ratio is to MONAI's DiceLoss: the median over
the rounds of the ratios within a round; "floors" is the fastest round over the byte floor: logits and labels read
twice and the gradient written once, at the speed of a copy. "saved" is what is kept between the passes beside logits
and labels, "peak" the most memory taken in both passes, the gradient included, as shares of the size of the logits.
With the extra `peers`, segmentation_models.pytorch is there too. "quarter" is the ratio of the lower quartiles: with
other programs about, it repeats better than the median. The lines named "bare" are no losses: what the least
operations on each voxel cost in torch and in numba, below which none can come.
"""

import argparse
import importlib.util
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

import lesionloss as ll
from lesionloss.core.allocator import keep_freed_memory
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.kernels import KERNELS

LOSSES = (
    "dice",
    "tversky",
    "dice_plus_plus",
    "generalised_dice",
    "cross_entropy",
    "hytver",
    "combo_plus_plus",
    "dice_ce",
    "focal",
    "dice_focal",
    "weighted_gradient",
    "asymmetric_unified_focal",
    "symmetric_unified_focal_plus_plus",
    "topk_dice",
    "dice_topk",
)
COMPILED_LOSSES = ("dice", "hytver", "focal")


@dataclass(frozen=True)
class Case:
    images: int
    channels: int
    edge: int


CASES = {"binary": Case(4, 1, 80), "two-class": Case(4, 2, 80), "14-class": Case(2, 14, 96)}


@dataclass
class Contestant:
    name: str
    loss: Callable[[Tensor, Tensor], Tensor]
    seconds: list[tuple[float, float]] = field(default_factory=list)  # forward, backward


def batch(case: Case, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Logits and labels (B, 1, *space) in uint8: some balls of lesion, together about 0.5 % of the voxels."""
    stream = torch_generator("benchmark", case.images, case.channels, case.edge)
    space = (case.edge,) * 3
    labels = torch.zeros((case.images, 1, *space), dtype=torch.uint8)
    grid = torch.stack(torch.meshgrid(*[torch.arange(case.edge)] * 3, indexing="ij"))
    for image in labels[:, 0]:
        while int((image > 0).sum()) < 0.005 * image.numel():
            centre = torch.randint(case.edge, (3,), generator=stream).view(3, 1, 1, 1)
            radius = int(torch.randint(2, 6, (), generator=stream))
            number = int(torch.randint(1, max(2, case.channels), (), generator=stream))
            image[((grid - centre) ** 2).sum(0) <= radius**2] = number
    logits = torch.randn((case.images, case.channels, *space), generator=stream)
    logits[:, 0] += 4 if case.channels > 1 else -4
    return logits.to(device).requires_grad_(), labels.to(device)


def peers(case: Case) -> Iterator[Contestant]:
    from monai import losses

    options = {"sigmoid": True} if case.channels == 1 else {"softmax": True, "to_onehot_y": True}
    focal = {} if case.channels == 1 else {"use_softmax": True, "to_onehot_y": True}
    yield Contestant("MONAI DiceLoss", losses.DiceLoss(**options))
    yield Contestant("MONAI TverskyLoss", losses.TverskyLoss(**options))
    yield Contestant("MONAI GeneralizedDiceLoss", losses.GeneralizedDiceLoss(**options))
    yield Contestant("MONAI FocalLoss", losses.FocalLoss(**focal))
    yield Contestant("MONAI DiceCELoss", losses.DiceCELoss(**options))
    yield Contestant("MONAI DiceFocalLoss", losses.DiceFocalLoss(**options))
    if case.channels == 1:
        yield Contestant(
            "torch binary cross-entropy",
            lambda z, t: torch.nn.functional.binary_cross_entropy_with_logits(z, t.float()),
        )
    else:
        yield Contestant("torch cross-entropy", lambda z, t: torch.nn.functional.cross_entropy(z, t[:, 0].long()))
    if importlib.util.find_spec("segmentation_models_pytorch") is not None:
        import segmentation_models_pytorch as smp

        dice = smp.losses.DiceLoss("binary" if case.channels == 1 else "multiclass")
        yield Contestant("smp DiceLoss", lambda z, t: dice(z, t if case.channels == 1 else t[:, 0].long()))


def contestants(case: Case, kernels: list[str], compile_too: bool) -> list[Contestant]:
    found = list(peers(case)) + list(bare(case))
    for kernel in kernels:
        found += [Contestant(f"{text} ({kernel})", ll.build(text, kernel=KERNELS.get(kernel))) for text in LOSSES]
    if compile_too:
        found += [Contestant(f"{text} (torch.compile)", torch.compile(ll.build(text))) for text in COMPILED_LOSSES]
    return found


def one_round(everybody: list[Contestant], logits: Tensor, labels: Tensor, read: Callable[[], float]) -> None:
    for contestant in everybody:
        logits.grad = None
        start = clock(logits, read)
        value = contestant.loss(logits, labels)
        middle = clock(logits, read)
        value.backward()
        contestant.seconds.append((middle - start, clock(logits, read) - middle))


def clock(logits: Tensor, read: Callable[[], float]) -> float:
    if logits.is_cuda:
        torch.cuda.synchronize()
    return read()


def floor_seconds(logits: Tensor, labels: Tensor, read: Callable[[], float]) -> float:
    """Bytes that must move, at the speed of a copy (which reads and writes)."""
    source, target = logits.detach(), torch.empty_like(logits)
    seconds = []
    for _ in range(20):
        start = clock(logits, read)
        target.copy_(source)
        seconds.append(clock(logits, read) - start)
    return min(seconds) * (3 * logits.nbytes + 2 * labels.nbytes) / (2 * logits.nbytes)


def saved_share(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> float:
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        value = loss(logits, labels)
    given = {x.untyped_storage().data_ptr() for x in (logits, labels)}
    share = sum(size for place, size in kept.items() if place not in given) / logits.nbytes
    del value
    return share


def peak_share(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> float:
    logits.grad = None
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        loss(logits, labels).backward()
    taken = most = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            taken += event.nbytes()
            most = max(most, taken)
    return most / logits.nbytes


def quarter(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=4)[0]


def bare(case: Case) -> Iterator[Contestant]:
    """The least that a loss does: an exponential a voxel, each way if nothing is kept; a focal one a logarithm too."""
    if case.channels > 1:
        return
    yield Contestant("bare torch: sigmoid, sum; product", lambda z, t: _Bare.apply(z, False))
    yield Contestant("bare torch: sigmoid, log1p, sum; product", lambda z, t: _Bare.apply(z, True))
    yield Contestant("bare torch: focal of background", lambda z, t: _BareFocal.apply(z))
    if "compiled" in KERNELS.names():
        yield Contestant("bare numba: exponential each way", lambda z, t: _BareCompiled.apply(z))


class _Bare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, with_logs: bool) -> Tensor:
        q = torch.sigmoid(logits)
        ctx.save_for_backward(q)
        return torch.neg(q).log1p_().sum() if with_logs else q.sum()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (q,) = ctx.saved_tensors
        return q * q, None


class _BareFocal(torch.autograd.Function):
    """Σ q² ce and its slope q² (q + 2 (1 - q) ce), every voxel background: nothing is checked, counted or looked up."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        pull, total = torch.empty_like(logits), logits.new_zeros(())
        spare = logits.new_empty(1 << 19)
        for z, out in zip(logits.view(-1).split(1 << 19), pull.view(-1).split(1 << 19), strict=True):
            q = torch.sigmoid(z, out=spare[: z.numel()])
            log, square = torch.neg(q).log1p_(), q * q
            total -= torch.dot(square, log)
            log.addcmul_(log, q, value=-1)
            torch.add(q, log, alpha=-2, out=out).mul_(square)
        ctx.save_for_backward(pull)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (pull,) = ctx.saved_tensors
        return pull * grads[0]


class _BareCompiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor) -> Tensor:
        from lesionloss.losses.kernels.walk import background

        z, scratch = logits.detach().view(-1).numpy(), np.empty(1024, np.float32)
        ctx.save_for_backward(logits)
        return logits.new_tensor(sum(background(z[at : at + 1024], scratch)[0] for at in range(0, z.size, 1024)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        from lesionloss.losses.kernels.walk import background_gradient

        (logits,) = ctx.saved_tensors
        one, out = np.float32(1.0), torch.empty_like(logits)
        background_gradient(logits.detach().view(-1).numpy(), one, one, one, out.view(-1).numpy())
        return out


def table(everybody: list[Contestant], logits: Tensor, labels: Tensor, read: Callable[[], float]) -> Iterator[str]:
    yield "| loss | forward ms | backward ms | total ms | best ms | ratio | quarter | floors | saved | peak |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    reference, floor = [sum(seconds) for seconds in everybody[0].seconds], floor_seconds(logits, labels, read)
    for contestant in everybody:
        forward, backward = (statistics.median(times) * 1e3 for times in zip(*contestant.seconds, strict=True))
        totals = [sum(seconds) for seconds in contestant.seconds]
        ratio = statistics.median(own / other for own, other in zip(totals, reference, strict=True))
        bare = contestant.name.startswith("bare")
        saved, peak = (0.0 if bare else share(contestant.loss, logits, labels) for share in (saved_share, peak_share))
        yield (
            f"| {contestant.name} | {forward:.2f} | {backward:.2f} | {statistics.median(totals) * 1e3:.2f} "
            f"| {min(totals) * 1e3:.2f} | {ratio:.2f} | {quarter(totals) / quarter(reference):.2f} "
            f"| {min(totals) / floor:.1f} | {saved:.2f} | {peak:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--kernels", nargs="+", choices=KERNELS.names(), help="default: all for the device")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cpu-time", action="store_true", help="seconds of this process, whatever else runs")
    parser.add_argument("--default-allocator", action="store_true", help="do not keep freed memory, as training does")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="monai")
    read = time.process_time if arguments.cpu_time else time.perf_counter
    torch.set_num_threads(arguments.threads)
    kept = not arguments.default_allocator and keep_freed_memory()
    print(f"torch {torch.__version__}, {arguments.threads} threads, {platform.machine()}, freed memory kept: {kept}")
    there = ["readable", "triton"] if arguments.device.startswith("cuda") else ["readable", "fused", "compiled"]
    kernels = arguments.kernels or [name for name in there if name in KERNELS.names()]
    for name in arguments.cases:
        case = CASES[name]
        logits, labels = batch(case, arguments.device)
        everybody = contestants(case, kernels, arguments.compile)
        for number in range(arguments.rounds + 2):
            one_round(everybody, logits, labels, read)
            if number == 1:  # compiled, and all memory seen
                for contestant in everybody:
                    contestant.seconds.clear()
        share = float((labels > 0).float().mean())
        print(f"\n{name}: {tuple(logits.shape)}, {share:.2%} lesion, {arguments.rounds} rounds\n")
        print("\n".join(table(everybody, logits, labels, read)), flush=True)


if __name__ == "__main__":
    main()
