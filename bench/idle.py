#!/usr/bin/env python3
"""CPU and memory of nodes that hold many idle replicas. See bench/README.md."""
import argparse
import json
import sys
import time

from local_cluster import Cluster
from processes import cpu_seconds, rss_mib

CPU_WANTED_PERCENT, RSS_WANTED_MIB = 3.0, 300.0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--json")
    options = parser.parse_args()
    rows = []
    with Cluster(3) as cluster:
        cluster.create_databases("idle", options.databases, seconds=600)
        time.sleep(5)  # checkpoints and balancing after the last change: the figure is about rest
        pids = []
        for node in range(3):
            facts = cluster.facts(node)
            pids.append((facts["pid"], facts["worker_pid"]))
        before, began = [sum(map(cpu_seconds, pair)) for pair in pids], time.monotonic()
        time.sleep(options.seconds)  # the measured time itself
        spent = time.monotonic() - began
        for node, pair in enumerate(pids):
            rows.append({"node": node + 1, "replicas": options.databases,
                         "cpu_percent": 100 * (sum(map(cpu_seconds, pair)) - before[node]) / spent,
                         "rss_mib": sum(map(rss_mib, pair))})
    print(f"{'node':>4}{'replicas':>10}{'CPU % of a core':>17}{'RSS MiB':>9}")
    good = True
    for row in rows:
        row["pass"] = row["cpu_percent"] < CPU_WANTED_PERCENT and row["rss_mib"] < RSS_WANTED_MIB
        good = good and row["pass"]
        print(f"{row['node']:4}{row['replicas']:10}{row['cpu_percent']:17.2f}{row['rss_mib']:9.0f}"
              f"  {'ok' if row['pass'] else 'WORSE THAN WANTED'}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"wanted": {"cpu_percent": CPU_WANTED_PERCENT, "rss_mib": RSS_WANTED_MIB}, "nodes": rows}, file, indent=1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
