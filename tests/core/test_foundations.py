"""Importing, atomic files, random generators and catalogues."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lesionloss.core.catalogue import Catalogue
from lesionloss.core.errors import UsageError
from lesionloss.core.files import atomic_file, atomic_folder, sha256_of, write_text
from lesionloss.core.randomness import numpy_generator, torch_generator
from lesionloss.losses.registry import LOSSES, loss
from lesionloss.metrics.metric_registry import _CATALOGUE, Better, EmptyValues, choose, metric


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "scipy", "monai", "matplotlib", "pandas")
    code = f"import sys, lesionloss; print([name for name in {heavy} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_a_file_is_written_atomically(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "table.csv"
    write_text(path, "old")
    with pytest.raises(RuntimeError, match="killed"), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert path.read_text() == "old"
    assert [file.name for file in path.parent.iterdir()] == ["table.csv"]
    assert sha256_of(path) == "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4"


def test_a_folder_is_written_atomically(tmp_path: Path) -> None:
    path = tmp_path / "trial"
    with pytest.raises(RuntimeError, match="killed"), atomic_folder(path) as partial:
        (partial / "a.txt").write_text("half")
        raise RuntimeError("killed")
    assert not path.exists()
    with atomic_folder(path) as partial:
        assert list(partial.iterdir()) == []
        (partial / "a.txt").write_text("all")
    assert (path / "a.txt").read_text() == "all"
    assert [entry.name for entry in tmp_path.iterdir()] == ["trial"]


def test_generators_depend_on_their_names_only() -> None:
    assert numpy_generator("a", 1).random() == numpy_generator("a", 1).random()
    assert numpy_generator("a", 1).random() != numpy_generator("a", 2).random()
    assert numpy_generator("a", 1).random() != numpy_generator("a", "1").random()
    assert numpy_generator("a", "b").random() != numpy_generator("ab").random()
    assert torch_generator("a", 1).initial_seed() == torch_generator("a", 1).initial_seed()
    draws = np.array([numpy_generator("x", index).random() for index in range(2000)])
    assert abs(draws.mean() - 0.5) < 0.03
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.08


def test_catalogue_refuses_clashes_and_explains_unknown_names() -> None:
    shelf: Catalogue[int] = Catalogue("loss")
    shelf.add("dice", 1)
    with pytest.raises(UsageError, match="'dice' exists already"):
        shelf.add("dice", 2)
    with pytest.raises(UsageError, match="no loss is named 'dise'; did you mean 'dice'"):
        shelf.get("dise")
    assert shelf.get("dice") == 1
    assert "dice" in shelf
    shelf.remove("dice")
    assert len(shelf) == 0


def test_a_notebook_cell_that_runs_again_replaces_its_loss_and_its_metric() -> None:
    def define(module: str, title: str) -> None:
        def mine(v, *, power=1.0):
            return v.tp

        def my_metric(case):
            return 0.0

        for function in (mine, my_metric):
            function.__module__, function.__doc__ = module, title
        loss("cell", source="test")(mine)
        metric("cell", title=title, unit="", direction=Better.HIGHER, source="test", empty=EmptyValues(1.0, 0.0, 0.0))(
            my_metric
        )

    try:
        define("__main__", "first")
        define("__main__", "second")
        assert LOSSES.get("cell").title == choose("cell").metric.title == "second"
        with pytest.raises(UsageError, match="a loss named 'cell' exists already"):
            define("other_module", "third")
        assert LOSSES.get("cell").title == "second"
    finally:
        LOSSES.remove("cell")
        _CATALOGUE.remove("cell")


def test_a_signal_right_after_the_file_exists_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch = Path.touch

    def stopped(self: Path, mode: int = 0o666, exist_ok: bool = True) -> None:
        touch(self, mode, exist_ok)
        raise SystemExit

    monkeypatch.setattr(Path, "touch", stopped)
    with pytest.raises(SystemExit):
        write_text(tmp_path / "file.txt", "text")
    assert list(tmp_path.iterdir()) == []
