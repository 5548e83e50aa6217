"""The fastest way to train that a machine offers: chosen without being asked, and said in one line."""

import os
from dataclasses import dataclass, replace

import torch

from lesionloss.core.allocator import free_memory, keep_freed_memory
from lesionloss.networks.cost import summarise
from lesionloss.training.precision import cpu_has_fast_bf16
from lesionloss.training.trial import Recipe

GROWTH = 2  # memory of a process that keeps what it frees, over that of one that doesn't: 1.2 to 1.9 were measured
BYTES_PER_PARAMETER = 16  # weight, gradient and two moments in float32
GIB = 2**30


@dataclass(frozen=True)
class Way:
    """How a training will run. `step_bytes`: about what one step needs; `free_bytes`: what there is (0: unknown).

    `keeps_memory`: freed memory stays with the process, which saves clearing it at every step.
    """

    device: str
    precision: str
    threads: int
    keeps_memory: bool
    step_bytes: int
    free_bytes: int

    def sentence(self) -> str:
        """What was chosen, and why."""
        if self.device != "cpu":
            name = torch.cuda.get_device_name(self.device)
            return f"{self.device} ({name}): {self.precision}, channels-last, losses read now and then"
        fast = "" if cpu_has_fast_bf16() else " (this processor has no bfloat16 of its own)"
        kept = "freed memory kept" if self.keeps_memory else "freed memory given back"
        amount = f"a step needs about {self.step_bytes / GIB:.2g} of {self.free_bytes / GIB:.1f} GiB"
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"cpu, {threads}: {self.precision}{fast}, channels-last, {kept} ({amount})"


def choose_way(recipe: Recipe, network: str, channels: int, device: str) -> Way:
    """The way for a recipe; the only thing that it changes is how this process keeps memory.

    Every network computes channels-last: measured fastest or equal on CPU and GPU. Freed memory is kept where twice
    what a step needs is free.
    """
    way = way_of(recipe, device, torch.get_num_threads(), step_bytes(recipe, network, channels))
    return replace(way, keeps_memory=way.keeps_memory and keep_freed_memory())


def way_of(recipe: Recipe, device: str, threads: int, step_bytes: int) -> Way:
    """The way of a trial with so many threads whose step needs so much; changes nothing."""
    free = free_memory()
    keeps = device == "cpu" and GROWTH * step_bytes <= free
    return Way(device, recipe.precision, threads, keeps, step_bytes, free)


def step_bytes(recipe: Recipe, network: str, channels: int) -> int:
    """About the memory of one training step: activations of the batch, weights, gradients and moments."""
    sides = recipe.patch[:2] if recipe.patch[2:] == (1,) else recipe.patch
    cost = summarise(network, (1, channels, *sides))
    activations = cost.activations * recipe.batch
    return (activations if recipe.precision == "float32" else activations // 2) + cost.parameters * BYTES_PER_PARAMETER


def default_workers(device: str) -> int:
    """Threads that make batches ahead: none on a CPU, whose cores the network needs, up to four beside a GPU."""
    return 0 if device == "cpu" else min(4, os.cpu_count() or 1)
