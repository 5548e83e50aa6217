import pytest
import torch

from lesionloss.core.devices import resolve_device
from lesionloss.core.errors import UsageError
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
