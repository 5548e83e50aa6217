"""Time and size of the report of a large run: 40 patients, 13 losses, 5 seeds.

python benchmarks/report.py FOLDER      # makes the run in FOLDER if it is not there, then its report
"""

import json
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

import lesionloss as ll
from make_large_run import make_large_run


def main(folder: Path) -> None:
    """Write the report and print what it took."""
    if not (folder / "plan.toml").exists():
        make_large_run(folder)
    wall, work = time.perf_counter(), time.process_time()
    page = ll.write_report(ll.load(folder), jobs=2)
    took = {
        "wall_s": round(time.perf_counter() - wall, 1),
        "cpu_s": round(time.process_time() - work, 1),
        "page_mb": round(page.stat().st_size / 1e6, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }
    print(json.dumps(took))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
