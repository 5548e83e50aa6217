"""A Ray cluster of two nodes on this machine; one is killed in the middle of a run. Tells by files what happened."""

import json
import os
import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from lesionloss.bench.bookkeeping.status import read_status
from lesionloss.bench.engines.ray import RayEngine
from lesionloss.bench.run import run
from lesionloss.core.errors import LesionLossError

PATIENCE_SECONDS = 500


def main(data: Path, out: Path) -> None:
    from engine_runs import long_plan

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1, include_dashboard=False) for _ in range(2)]
    cluster.wait_for_nodes()
    seen: dict[str, list[int]] = {}
    killed: list[dict[str, int]] = []

    def watch() -> None:
        """Kill the first node as soon as both have trials that are well under way; note who works on what."""
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE_SECONDS:
            time.sleep(0.05)
            try:
                running = read_status(out / "run").of("running")
            except LesionLossError:
                continue
            for trial in running:
                if trial.pid not in seen.setdefault(trial.key, []):
                    seen[trial.key].append(trial.pid)
            if not killed and len({trial.pid for trial in running if 5 <= trial.step < trial.steps}) == 2:
                killed.append({trial.key: trial.step for trial in running})
                cluster.remove_node(nodes[0], allow_graceful=False)

    threading.Thread(target=watch, daemon=True).start()
    results = run(long_plan(data), out / "run", engine=RayEngine(cluster.address), threads=1, checkpoint_seconds=0.2)
    ended = time.monotonic()
    while (alive := sum(node["Alive"] for node in ray.nodes())) > len(nodes) and time.monotonic() - ended < 60:
        time.sleep(0.5)  # Ray may notice the lost node only after the run has ended
    record = {"seen": seen, "killed": killed, "failed": [each.reason for each in results.failed], "alive": alive}
    (out / "ray.json").write_text(json.dumps(record))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    main(Path(sys.argv[1]), Path(sys.argv[2]))
