"""How a training run uses the hardware: the fastest choice for the machine, stated in one line."""

from dataclasses import dataclass, replace

import torch

from lesionloss.core.allocator import free_memory, keep_freed_memory
from lesionloss.core.processors import usable_cores
from lesionloss.networks import blank_network
from lesionloss.networks.cost import network_cost
from lesionloss.training.precision import cpu_has_fast_bf16
from lesionloss.training.trial import TrainingRecipe

GROWTH = 2  # memory of a process that keeps freed memory, over that of one that does not: 1.2 to 1.9 were measured
BYTES_PER_PARAMETER = 16  # weight, gradient and two moments in float32
BYTES_OF_BEST = 4  # of a parameter, in the copy of the best weights
GIB = 2**30


@dataclass(frozen=True)
class Execution:
    """Device, precision, threads and memory of a training run.

    Attributes:
        device: cpu or cuda:N; auto: that of other machines.
        keeps_memory: The process keeps freed memory, so that the system need not clear it at every step.
        step_bytes: Estimated memory of a training step.
        free_bytes: Free memory; 0: unknown.
    """

    device: str
    precision: str
    threads: int
    keeps_memory: bool
    step_bytes: int
    free_bytes: int

    def describe(self) -> str:
        """Return what was chosen and why, in one line."""
        if self.device == "auto":
            return f"the device of the node that runs a trial: {self.precision}, channels-last"
        if self.device != "cpu":
            name = torch.cuda.get_device_name(self.device)
            return f"{self.device} ({name}): {self.precision}, channels-last, losses read every few steps"
        fast = "" if cpu_has_fast_bf16() else " (this processor has no bfloat16 arithmetic)"
        kept = "freed memory kept" if self.keeps_memory else "freed memory given back"
        amount = f"a step needs about {self.step_bytes / GIB:.2g} of {self.free_bytes / GIB:.1f} GiB"
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"cpu, {threads}: {self.precision}{fast}, channels-last, {kept} ({amount})"


def choose_execution(recipe: TrainingRecipe, network: str, channels: int, device: str) -> Execution:
    """Choose how to run a recipe in this process, and make the process keep freed memory where that is chosen.

    Every network computes channels-last, which was measured to be fastest or equal on CPU and GPU. Freed memory is kept
    where twice the memory of a step is free.

    Args:
        recipe: Batch, patch and precision.
        network: Text of the network.
        channels: Channels of the images.
        device: cpu or cuda:N.
    """
    execution = execution_of(recipe, device, torch.get_num_threads(), step_bytes(recipe, network, channels))
    return replace(execution, keeps_memory=execution.keeps_memory and keep_freed_memory())


def execution_of(recipe: TrainingRecipe, device: str, threads: int, step_bytes: int) -> Execution:
    """Return how a trial with these threads and this memory of a step will run; changes nothing."""
    free = free_memory()
    keeps = device == "cpu" and GROWTH * step_bytes <= free
    return Execution(device, recipe.precision, threads, keeps, step_bytes, free)


def step_bytes(recipe: TrainingRecipe, network: str, channels: int) -> int:
    """Estimate the memory of one training step in bytes: activations, weights, gradients and moments."""
    sides = recipe.patch[:2] if recipe.patch[2:] == (1,) else recipe.patch
    cost = network_cost(network, (1, channels, *sides))
    activations = cost.activations * recipe.batch
    return (activations if recipe.precision == "float32" else activations // 2) + cost.parameters * BYTES_PER_PARAMETER


def network_bytes(recipe: TrainingRecipe, network: str) -> int:
    """Estimate the memory in bytes that one more network needs that trains side by side: all but activations."""
    parameters = sum(parameter.numel() for parameter in blank_network(network).parameters())
    best = BYTES_OF_BEST if recipe.validation_share else 0
    return parameters * (BYTES_PER_PARAMETER + best)


def default_workers(device: str, processes: int = 1) -> int:
    """Return the threads that make batches ahead: none on a CPU, whose cores the network needs; else up to four.

    Args:
        device: cpu or cuda:N.
        processes: How many processes share the cores.
    """
    return 0 if device == "cpu" else max(1, min(4, usable_cores() // processes))
