"""One thread per test process: several share the cores, and idle threads of one would starve the others."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
