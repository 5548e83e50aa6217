"""Which arithmetic a machine does fast."""

from pathlib import Path

import torch

from lesionloss.core.errors import UsageError

PRECISIONS = ("auto", "float32", "bf16", "fp16")
_BF16_FLAGS = {"amx_bf16", "avx512_bf16"}


def cpu_flags(cpuinfo: str) -> set[str]:
    """Instruction sets named in the text of Linux's cpuinfo (x86: `flags`, Arm: `Features`)."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return set(value.split())
    return set()


def cpu_has_fast_bf16() -> bool:
    """True where the processor multiplies bfloat16 itself; elsewhere bf16 is emulated and tens of times slower."""
    path = Path("/proc/cpuinfo")
    return path.exists() and bool(_BF16_FLAGS & cpu_flags(path.read_text()))


def resolve_precision(name: str, device: str) -> str:
    """`float32`, `bf16` or `fp16` for a device; `auto` takes bf16 where it is fast.

    Raises UsageError for an unknown name, and for fp16 on a CPU, where nothing is won.
    """
    if name not in PRECISIONS:
        raise UsageError(f"precision must be one of {', '.join(PRECISIONS)}, got {name!r}")
    if name == "fp16" and device == "cpu":
        raise UsageError("precision fp16 needs a GPU; on a CPU give auto, float32 or bf16")
    if name != "auto":
        return name
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"
    return "bf16" if cpu_has_fast_bf16() else "float32"
