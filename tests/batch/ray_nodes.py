"""Process that shares 200 items among two nodes of a Ray cluster, and kills one in the middle.

    python ray_nodes.py FOLDER

prints JSON: the items with their results, how often each was committed, and on how many nodes.
"""

import json
import os
import sys
from collections import Counter
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray.cluster_utils import Cluster

from samkit.batch import RayCluster, run_with_retries
from samkit.errors import ImageError

NUM_ITEMS = 200
KILLED_AFTER = 60
NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


class Squares:
    """Squares numbers; every 50th fails. Is defined here, so that its class travels as a whole."""

    def __call__(self, number):
        import time

        time.sleep(0.05)
        if number % 50 == 0:
            raise ImageError(f"{number} is round")
        return number**2, ray.get_runtime_context().get_node_id()


class Work:
    """Counts what is committed."""

    generate = Squares()

    def __init__(self):
        self.committed = Counter()
        self.nodes = Counter()

    def claim(self, item):
        return item

    def commit(self, claim, output):
        square, node = output
        self.committed[claim] += 1
        self.nodes[node] += 1
        return square

    def is_fault(self, error):
        return isinstance(error, ImageError)


def main():
    head = {**NODE, "num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    first, _ = cluster.add_node(**NODE), cluster.add_node(**NODE)
    cluster.wait_for_nodes()
    work = Work()
    found, lost = {}, 0
    with RayCluster(cluster.address) as executor:
        outcomes = run_with_retries(executor, work, range(NUM_ITEMS))
        for number, outcome in enumerate(outcomes, start=1):
            assert outcome.item not in found
            found[outcome.item] = outcome.result if outcome.error is None else str(outcome.error)
            if number == KILLED_AFTER:
                cluster.remove_node(first, allow_graceful=False)
                lost += 1
    cluster.shutdown()
    report = {"found": found, "committed": work.committed, "nodes": work.nodes}
    Path(sys.argv[1], "report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
