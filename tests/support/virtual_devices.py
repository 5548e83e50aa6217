"""Compiles virtual_gpu/devices.cpp once for each build of torch and loads it, without importing torch.

torch looks for devices once, when it is imported: what is loaded later is never found. So this is a plugin of pytest
(`-p virtual_devices`), which comes before every test, and loads them where LESIONLOSS_TEST_GPU is `virtual`.
"""

import ctypes
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("virtual_gpu") / "devices.cpp"


class Unavailable(Exception):
    """No virtual GPU can be made here; the message says why."""


def load_devices() -> ctypes.CDLL:
    """Register the virtual devices in this process, before torch is imported.

    Raises:
        Unavailable: As `compile_devices`, or torch is there already.
    """
    if "torch" in sys.modules:
        raise Unavailable("torch was imported before the virtual GPU")
    library = compile_devices()
    for name in ("libc10.so", "libtorch_cpu.so"):
        ctypes.CDLL(str(_torch() / "lib" / name), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(library))


def compile_devices() -> Path:
    """Return the library, compiled if need be.

    Raises:
        Unavailable: torch has CUDA, there is no compiler, or this torch has other interfaces.
    """
    if any((_torch() / "lib").glob("libtorch_cuda*")):
        raise Unavailable("this build of torch has CUDA: make gpu-check runs these tests on the real GPU")
    version = importlib.metadata.version("torch")
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lesionloss-tests"
    digest = hashlib.sha256(SOURCE.read_bytes() + f"{version} {_torch()}".encode()).hexdigest()[:16]
    library = place / f"virtual-gpu-{digest}.so"
    if library.exists():
        return library
    compiler = shutil.which("g++")
    if compiler is None:
        raise Unavailable("there is no g++ to compile the virtual GPU with")
    place.mkdir(parents=True, exist_ok=True)
    unfinished = library.with_suffix(f".{os.getpid()}")
    command = [compiler, "-O0", "-std=c++20", "-fPIC", "-shared", str(SOURCE), "-o", str(unfinished)]
    command += [f"-I{_torch() / 'include'}", f"-L{_torch() / 'lib'}", "-lc10", "-ltorch_cpu"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line), "g++ failed")
        raise Unavailable(f"the virtual GPU does not compile with torch {version}: {first}")
    unfinished.replace(library)
    return library


def _torch() -> Path:
    found = importlib.util.find_spec("torch")
    if found is None or found.origin is None:
        raise Unavailable("torch is not installed")
    return Path(found.origin).parent


LIBRARY = load_devices() if os.environ.get("LESIONLOSS_TEST_GPU") == "virtual" else None
