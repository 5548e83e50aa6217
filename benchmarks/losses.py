"""Time and memory of the losses, each beside its own counterpart in MONAI. Prints a Markdown table and nothing else.

    python benchmarks/losses.py                             # two threads, seconds of the clock
    python benchmarks/losses.py --threads 1 --cpu-time      # where other programs run: seconds of this process only
    python benchmarks/losses.py --cases A --rounds 40
    python benchmarks/losses.py --share                     # the loss as a share of a training step, by network
    python benchmarks/losses.py --maps --cases A            # every loss beside dice, maps of the reference apart

A round calls all losses once, forward and backward, so that a disturbance meets all alike. "readable" and "fast" are
the median over the rounds of our time over the counterpart's in the same round; for dice_plus_plus the counterpart is
dice on the same kernel. "saved" is what is kept for the backward pass beside logits and labels, "peak" the most memory
that forward and backward take together, the gradient included; both over the size of the logits, ours (fast) / theirs.
"""

import argparse
import ctypes
import json
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import lesionloss as ll
from lesionloss.core.allocator import keep_freed_memory
from lesionloss.core.randomness import torch_generator
from lesionloss.losses.kernels import KERNELS

Function = Callable[[Tensor, Tensor], Tensor]
CASES = {"A": (4, 1, 80), "B": (4, 2, 80), "C": (2, 14, 96)}  # images, channels, edge
COUNTERPARTS = {
    "dice": "DiceLoss",
    "dice_plus_plus": "dice",
    "tversky": "TverskyLoss",
    "generalised_dice": "GeneralizedDiceLoss",
    "dice_ce": "DiceCELoss",
    "hytver": "DiceCELoss",
    "combo": "DiceCELoss",
    "focal": "FocalLoss",
    "dice_focal": "DiceFocalLoss",
    "asymmetric_unified_focal": "AsymmetricUnifiedFocalLoss",
}
M_MMAP_THRESHOLD = -3  # of glibc's mallopt


def batch(images: int, channels: int, edge: int) -> tuple[Tensor, Tensor]:
    """Logits (B, C, *space) and labels (B, 1, *space) in uint8: balls of lesion, about 0.5 % of the voxels."""
    stream, space = torch_generator("benchmark", images, channels, edge), (edge,) * 3
    labels = torch.zeros((images, 1, *space), dtype=torch.uint8)
    grid = torch.stack(torch.meshgrid(*[torch.arange(edge)] * 3, indexing="ij"))
    for image in labels[:, 0]:
        while int((image > 0).sum()) < 0.005 * image.numel():
            centre = torch.randint(edge, (3,), generator=stream).view(3, 1, 1, 1)
            radius = int(torch.randint(2, 6, (), generator=stream))
            number = int(torch.randint(1, max(2, channels), (), generator=stream))
            image[((grid - centre) ** 2).sum(0) <= radius**2] = number
    logits = torch.randn((images, channels, *space), generator=stream)
    logits[:, 0] += 4 if channels > 1 else -4
    return logits.requires_grad_(), labels


def counterpart(name: str, channels: int) -> Function | None:
    """MONAI's loss for that number of channels; None where it has none."""
    from monai import losses

    if name == "AsymmetricUnifiedFocalLoss":  # takes the probabilities of two classes
        if channels > 2:
            return None
        unified = losses.AsymmetricUnifiedFocalLoss(to_onehot_y=True)
        if channels == 2:
            return lambda z, t: unified(z.softmax(1), t)
        return lambda z, t: unified(torch.cat([torch.sigmoid(-z), torch.sigmoid(z)], dim=1), t)
    head = {"sigmoid": True} if channels == 1 else {"softmax": True, "to_onehot_y": True}
    if name == "FocalLoss":
        head = {} if channels == 1 else {"use_softmax": True, "to_onehot_y": True}
    loss: Function = getattr(losses, name)(**head)
    return loss


def contestants(channels: int) -> dict[str, Function]:
    """All losses of a case: ours as "NAME KERNEL", MONAI's by their names."""
    found: dict[str, Function] = {}
    for name, other in COUNTERPARTS.items():
        found |= {f"{name} {kernel.name}": ll.build(name, kernel=kernel) for kernel in KERNELS}
        if other not in COUNTERPARTS and (loss := counterpart(other, channels)) is not None:
            found[other] = loss
    return found


def timed(case: str, rounds: int, read: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of forward and backward of each loss in each round; the first two rounds are not counted."""
    logits, labels = batch(*CASES[case])
    everybody = contestants(CASES[case][1])
    seconds: dict[str, list[float]] = {name: [] for name in everybody}
    for number in range(rounds + 2):
        for name, loss in everybody.items():
            logits.grad = None
            start = read()
            loss(logits, labels).backward()
            if number > 1:
                seconds[name].append(read() - start)
    return seconds


def memory(case: str) -> dict[str, tuple[float, float]]:
    """What each loss saves for the backward pass and its peak, over the size of the logits; Linux only."""
    # Large blocks go back to the system at once, so that the resident memory is what is in use.
    ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, 1 << 16)
    logits, labels = batch(*CASES[case])
    found = {}
    for name, loss in contestants(CASES[case][1]).items():
        loss(logits, labels).backward()  # whatever is allocated once
        logits.grad = None
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # begin a new peak
        loss(logits, labels).backward()
        peak = (resident("VmHWM") - before) / logits.nbytes
        logits.grad = None
        found[name] = (saved(loss, logits, labels) / logits.nbytes, peak)
    return found


def resident(field: str) -> int:
    """Bytes of a line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def saved(loss: Function, logits: Tensor, labels: Tensor) -> int:
    """Bytes kept for the backward pass beside logits and labels."""
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        value = loss(logits, labels)
    given = {x.untyped_storage().data_ptr() for x in (logits, labels)}
    total = sum(size for place, size in kept.items() if place not in given)
    del value
    return total


def table(cases: list[str], rounds: int, read: Callable[[], float]) -> None:
    print("| case | loss | counterpart | fast, ms | counterpart, ms | readable | fast | saved | peak |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in cases:
        command = [sys.executable, __file__, "--memory", case]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        shares, seconds = json.loads(answer), timed(case, rounds, read)
        for name, other in COUNTERPARTS.items():
            fast, ours = seconds[f"{name} fast"], shares[f"{name} fast"]
            cells = [case, name, other, f"{1e3 * statistics.median(fast):.1f}"]
            if other not in COUNTERPARTS and other not in seconds:
                cells += ["", "", "", f"{ours[0]:.2f}", f"{ours[1]:.2f}"]
            else:
                beside = {kernel: f"{other} {kernel}" if other in COUNTERPARTS else other for kernel in KERNELS.names()}
                theirs = shares[beside["fast"]]
                cells.append(f"{1e3 * statistics.median(seconds[beside['fast']]):.1f}")
                cells += [f"{ratio(seconds[f'{name} {kernel}'], seconds[beside[kernel]]):.2f}" for kernel in beside]
                cells += [f"{own:.2f} / {their:.2f}" for own, their in zip(ours, theirs, strict=True)]
            print("| " + " | ".join(cells) + " |", flush=True)


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(own / other for own, other in zip(ours, theirs, strict=True))


def share_table(steps: int, read: Callable[[], float]) -> None:
    """How much of a training step hytver is: forward, backward and Adam on two patches of 64³ (256² in 2-D)."""
    from lesionloss.networks import as_outputs, build_network, seed_dropout

    print("| network | step, ms | loss, ms | share of the loss |")
    print("|---|---|---|---|")
    for record in ll.list_networks():
        network = build_network(record.name, torch_generator("share")).train()
        space = (64,) * 3 if network.axes == 3 else (256,) * 2
        images = torch.randn((2, 3, *space), generator=torch_generator("images"))
        labels = (torch.rand((2, *space), generator=torch_generator("labels")) < 0.005).to(torch.uint8)
        optimiser, loss = torch.optim.Adam(network.parameters()), ll.build("hytver")
        supervised = ll.DeepSupervision(loss)
        of_step, of_loss = [], []
        for _ in range(steps + 1):
            seed_dropout(network, torch_generator("dropout"))
            start = read()
            optimiser.zero_grad()
            outputs = as_outputs(network(images))
            levels = [outputs.logits, *outputs.deep]
            leaves = [level.detach().requires_grad_() for level in levels]
            middle = read()
            supervised(leaves, labels).backward()
            of_loss.append(read() - middle)
            torch.autograd.backward(levels, [leaf.grad for leaf in leaves])
            optimiser.step()
            of_step.append(read() - start)
        step, part = statistics.median(of_step[1:]), statistics.median(of_loss[1:])
        print(f"| {record.name} | {1e3 * step:.0f} | {1e3 * part:.1f} | {part / step:.2%} |", flush=True)


def maps_table(cases: list[str], rounds: int, read: Callable[[], float]) -> None:
    """Every loss, forward and backward over dice with maps of the reference given; and the maps of one image."""
    print("| case | loss | maps given, ms | over dice | maps of an image, ms |")
    print("|---|---|---|---|---|")
    for case in cases:
        logits, labels = batch(*CASES[case])
        losses = {record.name: ll.build(record.name) for record in ll.list_losses()}
        if CASES[case][1] > 2:
            del losses["hytver_released"]  # takes one lesion class
        maps, of_maps = {}, {}
        for name, loss in losses.items():
            loss.reference_maps(labels[:1], channels=CASES[case][1])  # whatever is loaded once
            start = read()
            maps[name] = loss.reference_maps(labels, channels=CASES[case][1])
            of_maps[name] = (read() - start) / len(labels)
        seconds: dict[str, list[float]] = {name: [] for name in losses}
        for number in range(rounds + 2):
            for name, loss in losses.items():
                logits.grad = None
                start = read()
                loss(logits, labels, maps=maps[name]).backward()
                if number > 1:
                    seconds[name].append(read() - start)
        for name in losses:
            cells = [case, name, f"{1e3 * statistics.median(seconds[name]):.1f}"]
            workers = f"{1e3 * of_maps[name]:.0f}" if maps[name] else ""
            cells += [f"{ratio(seconds[name], seconds['dice']):.2f}", workers]
            print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="seconds of this process, whatever else runs")
    parser.add_argument("--share", action="store_true", help="the loss as a share of a training step, by network")
    parser.add_argument("--maps", action="store_true", help="every loss beside dice, maps of the reference apart")
    parser.add_argument("--memory", choices=list(CASES), help=argparse.SUPPRESS)  # a process of its own
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(arguments.threads)
    if arguments.memory:
        print(json.dumps(memory(arguments.memory)))
        return
    keep_freed_memory()
    read = time.process_time if arguments.cpu_time else time.perf_counter
    if arguments.share:
        share_table(min(arguments.rounds, 5), read)
    elif arguments.maps:
        maps_table(arguments.cases, arguments.rounds, read)
    else:
        table(arguments.cases, arguments.rounds, read)


if __name__ == "__main__":
    main()
