"""Read .npz files that may be damaged or from strangers: no pickle, every checksum tested, one kind of error."""

import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENDING = ".npy"


def read_npz(path: Path, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, NDArray[Any]]:
    """Read arrays to their last byte, so that a header that claims less than its file holds does not pass.

    Args:
        path: The file.
        wanted: Whether an array of this name is read.

    Returns:
        The arrays by name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged; the message is one line.
    """
    found: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(path) as archive, np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old headers; errstate: of a shape that overflows
            for member in archive.namelist():
                name = member.removesuffix(ENDING)
                if not wanted(name):
                    continue
                with archive.open(member) as handle:
                    found[name] = np.lib.format.read_array(handle, allow_pickle=False)
                    if handle.read(1):
                        raise ValueError(f"{member} is longer than its header says")
    except FileNotFoundError:
        raise
    # zipfile and numpy raise whatever their parsers meet: TokenError, NotImplementedError, EOFError, MemoryError, ...
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(reason) from error
    return found
