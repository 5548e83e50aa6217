"""What a GPU makes of the program: losses, training steps, how busy it is, prediction, and how far equal runs differ.

    python benchmarks/gpu.py                           # all tables, on the first GPU; `make gpu-check` does so too
    python benchmarks/gpu.py --only losses busy
    python benchmarks/gpu.py --device cpu --quick      # tries every table without a GPU; its numbers mean nothing

losses: forward and backward pass beside the counterpart in MONAI, milliseconds and peak memory over the logits, ours /
theirs. step: a training step (forward, loss, backward, optimiser), as it is and with the network compiled. busy: the
share of time in which nvidia-smi sees the GPU at work while a trial trains. batches: one made on the device, beside one
made by a core: milliseconds, peak memory, the largest difference, and the labels that differ. prediction: one image in
windows. noise: one trial trained twice, with and without --deterministic: the largest difference of the losses and of
the weights.
"""

import argparse
import shutil
import statistics
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from losses import CASES, COUNTERPARTS, batch, counterpart
from torch import Tensor, nn

import lesionloss as ll
from lesionloss.core.devices import resolve_device
from lesionloss.core.randomness import numpy_generator, torch_generator
from lesionloss.data.batches.augmentation import parse_augmentation
from lesionloss.data.batches.device_batches import DrawnStream, make_device_batch
from lesionloss.data.batches.device_cohort import DeviceCohort
from lesionloss.data.batches.patch_samplers import WeightedCrop
from lesionloss.data.batches.stream import BatchStream
from lesionloss.data.prepared import PreparedCase
from lesionloss.inference import Arithmetic, SlidingWindow, predict_probabilities
from lesionloss.networks import as_outputs, build_network, channels_last, seed_dropout
from lesionloss.training.arithmetic import set_arithmetic
from lesionloss.training.execution import default_workers
from lesionloss.training.loop import TrainingResult, train
from lesionloss.training.optimisers import read_optimiser
from lesionloss.training.precision import resolve_precision
from lesionloss.training.trial import TrainingRecipe, Trial

SAMPLES_PER_SECOND = 10  # of nvidia-smi


@dataclass(frozen=True)
class Scale:
    """How large the tensors are."""

    edges: dict[str, int]  # of the cases of benchmarks/losses.py
    rounds: int
    side: int  # of a patch
    batch: int
    volume: tuple[int, int, int]
    steps: int
    networks: tuple[str, ...]


WHOLE = Scale(
    edges={name: case[2] for name, case in CASES.items()},
    rounds=30,
    side=80,
    batch=4,
    volume=(182, 218, 182),
    steps=100,
    networks=("vnet", "longitudinal_vnet", "unet3d"),
)
QUICK = Scale(
    edges=dict.fromkeys(CASES, 12),
    rounds=2,
    side=16,
    batch=2,
    volume=(40, 40, 40),
    steps=3,
    networks=("vnet(filters=2)", "unet3d(filters=4, levels=2, group=2)"),
)


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def milliseconds(call: Callable[[], object], device: str, rounds: int) -> float:
    """The median over the rounds, after two that are not counted."""
    found = []
    for _ in range(rounds + 2):
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        found.append(1e3 * (time.perf_counter() - start))
    return statistics.median(found[2:])


def peak_bytes(call: Callable[[], object], device: str) -> float:
    """The most memory during a call beyond what was in use before; NaN on a CPU."""
    if device == "cpu":
        return float("nan")
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    return torch.cuda.max_memory_allocated(device) - before


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def header(*titles: str) -> None:
    print()
    row(*titles)
    row(*["---"] * len(titles))


def loss_table(device: str, scale: Scale) -> None:
    header("case", "loss", "counterpart", "ms", "over theirs", "peak", "theirs")
    for case, (images, channels, _) in CASES.items():
        logits, labels = batch(images, channels, scale.edges[case])
        logits, labels = logits.detach().to(device).requires_grad_(), labels.to(device)
        for name, other in COUNTERPARTS.items():
            theirs = ll.build(other) if other in COUNTERPARTS else counterpart(other, channels)
            ours = passes(ll.build(name), logits, labels)
            time_of_ours, peak = milliseconds(ours, device, scale.rounds), peak_bytes(ours, device) / logits.nbytes
            if theirs is None:
                row(case, name, "–", f"{time_of_ours:.2f}", "–", f"{peak:.2f}", "–")
                continue
            beside = passes(theirs, logits, labels)
            ratio = time_of_ours / milliseconds(beside, device, scale.rounds)
            row(
                case,
                name,
                other,
                f"{time_of_ours:.2f}",
                f"{ratio:.2f}",
                f"{peak:.2f}",
                f"{peak_bytes(beside, device) / logits.nbytes:.2f}",
            )


def passes(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> Callable[[], None]:
    """Forward and backward."""

    def call() -> None:
        logits.grad = None
        loss(logits, labels).backward()

    return call


def step_table(device: str, scale: Scale) -> None:
    header("network", "precision", "step, ms", "compiled, ms", "peak, GiB")
    precision = resolve_precision("auto", device)
    for text in scale.networks:
        network = channels_last(build_network(text, torch_generator("gpu"))).to(device).train()
        step = training_step(network, network, device, scale, precision)
        eager, peak = milliseconds(step, device, scale.rounds), peak_bytes(step, device) / 2**30
        try:
            compiled = training_step(network, torch.compile(network), device, scale, precision)
            shown = f"{milliseconds(compiled, device, scale.rounds):.1f}"
        except Exception as error:  # the table says why, and goes on
            shown = type(error).__name__
        row(text, precision, f"{eager:.1f}", shown, f"{peak:.2f}")


def training_step(
    network: nn.Module, called: Callable[[Tensor], object], device: str, scale: Scale, precision: str
) -> Callable[[], None]:
    """A step on one batch that stays the same; `called` is the network or what torch.compile makes of it."""
    images = torch.randn((scale.batch, 3, *[scale.side] * 3), generator=torch_generator("images")).to(device)
    images = images.contiguous(memory_format=torch.channels_last_3d)
    labels = torch.rand((scale.batch, *[scale.side] * 3), generator=torch_generator("labels"))
    labels = (labels < 0.005).to(torch.uint8).to(device)
    loss = ll.DeepSupervision(ll.build("hytver"))
    optimiser = read_optimiser("adam").over(list(network.parameters()), 1e-3)
    half = torch.float16 if precision == "fp16" else torch.bfloat16

    def call() -> None:
        seed_dropout(network, torch_generator("dropout"))
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(device).type, half, enabled=precision != "float32"):
            outputs = as_outputs(called(images))
        loss([level.float() for level in (outputs.logits, *outputs.deep)], labels).backward()
        optimiser.step()

    return call


def made_case(name: str, shape: tuple[int, int, int]) -> PreparedCase:
    """Noise with a few lesions."""
    rng = numpy_generator("gpu", name)
    reference = np.zeros(shape, np.uint8)
    for _ in range(8):
        corner = [int(rng.integers(2, side - 8)) for side in shape]
        reference[tuple(slice(at, at + 5) for at in corner)] = 1
    baseline, followup = rng.standard_normal((2, *shape)).astype(np.float32)
    followup += 2 * reference
    return PreparedCase(
        name=name,
        patient=name,
        image=np.stack([baseline, followup, followup - baseline]),
        channels=("baseline", "followup", "difference"),
        reference=reference,
        brain=np.ones(shape, np.bool_),
        affine=np.eye(4),
        offset=(0, 0, 0),
        original_shape=shape,
    )


def trained(device: str, scale: Scale, network: str, deterministic: bool = False) -> TrainingResult:
    """One trial on made patients."""
    sides = (scale.side,) * 3
    recipe = TrainingRecipe(
        steps=scale.steps,
        batch=scale.batch,
        patch=sides,
        jitter=3,
        foreground_share=1.0,
        learning_rate=1e-3,
        poly_power=0.9,
        augment=True,
        precision=resolve_precision("auto", device),
        window=sides,
        overlap=0.5,
        threshold=0.5,
    )
    names = ("a", "b", "c", "d")
    trial = Trial(
        loss="hytver",
        dataset="made",
        target="lesions",
        network=network,
        fold=0,
        seed=1,
        train=names,
        test=(),
        recipe=recipe,
    )
    cases = [made_case(name, scale.volume) for name in names]
    with set_arithmetic(device, deterministic):
        return train(trial, cases, device=device, workers=default_workers(device))


def busy_table(device: str, scale: Scale) -> None:
    header("network", "steps a second", "GPU busy")
    for text in scale.networks:
        shares: list[float] = []
        start = time.perf_counter()
        with busy_shares(shares) if device != "cpu" else nullcontext():
            trained(device, scale, text)
        seconds = time.perf_counter() - start
        row(text, f"{scale.steps / seconds:.1f}", f"{statistics.mean(shares):.0f} %" if shares else "–")


@contextmanager
def busy_shares(shares: list[float]) -> Iterator[None]:
    """Fill a list with the percent that nvidia-smi reports inside the block."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        yield
        return
    command = [tool, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-i", "0"]
    process = subprocess.Popen([*command, "-lms", str(1000 // SAMPLES_PER_SECOND)], stdout=subprocess.PIPE, text=True)
    try:
        yield
    finally:
        process.terminate()
        shares += [float(line) for line in process.communicate()[0].split() if line.isdecimal()]


def batch_table(device: str, scale: Scale) -> None:
    header("augmentation", "by a core, ms", "on the device, ms", "peak, MB", "largest difference", "other labels")
    cases = {name: made_case(name, scale.volume) for name in ("a", "b", "c", "d")}
    cohort, sampler = DeviceCohort(cases, device), WeightedCrop((scale.side,) * 3)
    for texts in ((), ("rescale",), ("hytver",), ("dscpp",), ("topk",)):
        steps = parse_augmentation(texts)
        stream = BatchStream(cases, sampler, steps, ("gpu",), batch=scale.batch)
        drawn = DrawnStream(cases, sampler, steps, ("gpu",), batch=scale.batch)
        one, numbers = next(stream), next(drawn)
        make = partial(make_device_batch, cohort, drawn.draws, numbers)
        whole = make()
        apart = np.abs(whole.images.cpu().numpy() - one.images).max()
        labels = int((whole.references.cpu().numpy() != one.references).sum())
        times = [milliseconds(partial(next, stream), "cpu", 3), milliseconds(make, device, scale.rounds)]
        peak = peak_bytes(make, device) / 1e6
        row(" ".join(texts) or "none", *(f"{each:.2f}" for each in times), f"{peak:.0f}", f"{apart:.1e}", labels)


def prediction_table(device: str, scale: Scale) -> None:
    header("network", "window", "seconds an image")
    case, mode = made_case("image", scale.volume), SlidingWindow((scale.side,), overlap=0.5)
    arithmetic = Arithmetic(resolve_precision("auto", device), stitched=torch.float32, together=True)
    for text in scale.networks:
        network = channels_last(build_network(text, torch_generator("gpu"))).to(device).eval()
        with set_arithmetic(device, False):
            predict = partial(predict_probabilities, network, case, mode, arithmetic=arithmetic, device=device)
            took = milliseconds(predict, device, 1)
        row(text, scale.side, f"{took / 1e3:.2f}")


def noise_table(device: str, scale: Scale) -> None:
    header("network", "deterministic", "largest difference of a loss", "of a weight")
    for text in scale.networks:
        for deterministic in (False, True):
            try:
                one, other = (trained(device, scale, text, deterministic) for _ in range(2))
            except RuntimeError as error:  # an operation that has no deterministic algorithm
                row(text, deterministic, str(error).splitlines()[0][:80], "–")
                continue
            losses = max(abs(a.loss - b.loss) for a, b in zip(one.history, other.history, strict=True))
            pairs = zip(one.network.parameters(), other.network.parameters(), strict=True)
            weights = max(float((a - b).abs().max()) for a, b in pairs)
            row(text, deterministic, f"{losses:.2g}", f"{weights:.2g}")


TABLES: dict[str, Callable[[str, Scale], None]] = {
    "losses": loss_table,
    "step": step_table,
    "busy": busy_table,
    "batches": batch_table,
    "prediction": prediction_table,
    "noise": noise_table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--only", nargs="+", choices=list(TABLES), default=list(TABLES))
    parser.add_argument("--quick", action="store_true", help="small tensors and networks")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    device = resolve_device(arguments.device)
    name = "CPU" if device == "cpu" else torch.cuda.get_device_name(device)
    print(f"torch {torch.__version__}, {name}")
    for table in arguments.only:
        TABLES[table](device, QUICK if arguments.quick else WHOLE)


if __name__ == "__main__":
    main()
