"""A pool whose workers write a file and never finish it; the tests end this process."""

import sys
import time
from pathlib import Path

from lesionloss.core.files import atomic_file
from lesionloss.core.processes import process_pool


def write(path: Path) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text("half")
        time.sleep(60)


def main(folder: Path, preload: list[str]) -> None:
    with process_pool(2, preload) as pool:
        for future in [pool.submit(write, folder / f"{number}.txt") for number in range(9)]:
            future.result()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
