"""Which floating-point precision a machine is fast at."""

from pathlib import Path

import torch

from lesionloss.core.errors import UsageError

PRECISIONS = ("auto", "float32", "bf16", "fp16")
VOLTA, AMPERE = (7, 0), (8, 0)  # compute capability: the first with fast fp16, the first with bf16
_BF16_FLAGS = {"amx_bf16", "avx512_bf16"}


def cpu_flags(cpuinfo: str) -> set[str]:
    """Return the instruction sets that Linux's cpuinfo names (x86: `flags`, Arm: `Features`)."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def cpu_has_fast_bf16() -> bool:
    """Return whether the processor has bfloat16 arithmetic; elsewhere it is emulated, tens of times slower."""
    path = Path("/proc/cpuinfo")
    return path.exists() and bool(_BF16_FLAGS & cpu_flags(path.read_text()))


def resolve_precision(name: str, device: str) -> str:
    """Return the precision for a device.

    Args:
        name: One of PRECISIONS; `auto` is bf16 where the device is fast at it, fp16 on GPUs that are fast at that
            alone (Volta, Turing), else float32.
        device: cpu or cuda:N; auto: other machines, of which nothing is known, so that `auto` is float32.

    Returns:
        `float32`, `bf16` or `fp16`.

    Raises:
        UsageError: An unknown name, or fp16 on a CPU, which is not faster at it.
    """
    if name not in PRECISIONS:
        raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, got {name!r}")
    if name == "fp16" and device == "cpu":
        raise UsageError("precision fp16 needs a GPU; on a CPU give auto, float32 or bf16")
    if name != "auto":
        return name
    if device == "auto":
        return "float32"
    if device.startswith("cuda"):
        # torch.cuda.is_bf16_supported asks the current device, and counts emulation.
        generation = torch.cuda.get_device_capability(device)
        return "bf16" if generation >= AMPERE else "fp16" if generation >= VOLTA else "float32"
    return "bf16" if cpu_has_fast_bf16() else "float32"


def judged_precision(judged: str, device: str) -> str:
    """Return the precision in which a model was judged, where the device has it; else that of `auto`.

    Args:
        judged: As the record of the model states it; empty: not known.
        device: cpu or cuda:N.
    """
    return judged if judged and (judged, device) != ("fp16", "cpu") else resolve_precision("auto", device)
