import os

import pytest
import torch

from lesionloss.core.devices import resolve_device, see_one_device
from lesionloss.core.errors import UsageError
from lesionloss.training.arithmetic import WORKSPACE, arithmetic_record, set_arithmetic
from lesionloss.training.precision import cpu_flags, resolve_precision


def test_flags_are_read_from_the_kernels_table() -> None:
    table = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 amx_bf16\n\nprocessor\t: 1\nflags\t\t: fpu\n"
    assert cpu_flags(table) == {"fpu", "avx2", "amx_bf16"}
    assert cpu_flags("nothing here") == set()


def test_auto_takes_bf16_only_where_the_processor_multiplies_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for fast, expected in ((True, "bf16"), (False, "float32")):
        monkeypatch.setattr("lesionloss.training.precision.cpu_has_fast_bf16", lambda fast=fast: fast)
        assert resolve_precision("auto", "cpu") == expected
        assert resolve_precision("float32", "cpu") == "float32"
        assert resolve_precision("bf16", "cpu") == "bf16"


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="precision must be one of auto, float32, bf16, fp16, got 'half'"):
        resolve_precision("half", "cpu")


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") == ("cuda:0" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UsageError, match="must be auto, cpu or cuda:N, got 'gpu'"):
        resolve_device("gpu")
    with pytest.raises(UsageError, match="--device cuda:99: this machine has"):
        resolve_device("cuda:99")


@pytest.mark.parametrize(("capability", "precision"), [((6, 1), "float32"), ((7, 5), "fp16"), ((8, 0), "bf16")])
def test_auto_takes_what_the_named_gpu_is_fast_at(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], precision: str
) -> None:
    of_device = {"cuda:1": capability, "cuda:0": (9, 0)}
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: of_device[device])
    assert resolve_precision("auto", "cuda:1") == precision
    assert resolve_precision("auto", "auto") == "float32"  # of other machines nothing is known


def test_a_process_sees_one_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, seen in (("", "2"), ("4,5,6,7", "6"), ("GPU-a,GPU-b,GPU-c", "GPU-c")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert see_one_device("cuda:2") == "cuda:0"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
        assert see_one_device("cpu") == "cpu"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


@pytest.mark.parametrize("deterministic", [False, True])
def test_arithmetic_is_set_inside_its_block_and_recorded(monkeypatch: pytest.MonkeyPatch, deterministic: bool) -> None:
    monkeypatch.setenv(WORKSPACE, "")
    monkeypatch.delenv(WORKSPACE)
    before = arithmetic_record("cuda:0")
    with set_arithmetic("cuda:0", deterministic):
        assert arithmetic_record("cuda:0") == {
            "deterministic": deterministic,
            "step": "eager",
            "tf32_convolutions": not deterministic,
            "cudnn_benchmark": not deterministic,
            "fused_optimiser": True,
        }
        assert (WORKSPACE in os.environ) is deterministic
        assert not torch.backends.cuda.matmul.allow_tf32  # losses use matrix products
    assert arithmetic_record("cuda:0") == before
    with set_arithmetic("cpu", False):
        assert arithmetic_record("cpu") == {"deterministic": False, "step": "eager"}
