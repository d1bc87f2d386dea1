#!/usr/bin/env python3
"""How fast the replicas of a node move to others, next to cp and fsync of the same bytes. See bench/README.md."""
import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import time

from local_cluster import BINARY, Cluster, machine, wait_until
from replication import ROW_BYTES, copy_seconds, grow, say
from load import Target

EFFICIENCY_WANTED, P99_WANTED = 2.0, 1.5
CLIENTS, PAUSE_SECONDS = 4, 0.01


class Clients:
    """Processes that insert a row and read it back, PAUSE_SECONDS apart, through a node that stays. What each statement
    took is kept with the time at which it ended."""

    def __init__(self, cluster, gateway, databases):
        self.over, self.out = multiprocessing.Event(), multiprocessing.Queue()
        self.address, self.statements, self.errors = cluster.sql_address(gateway), [], []
        self.processes = [multiprocessing.Process(target=self._run, args=(databases[i % len(databases)], i), daemon=True)
                          for i in range(CLIENTS)]

    def _run(self, database, number):
        cursor = Target(*self.address).connect(database).cursor()
        took, errors, key = [], [], number
        while not self.over.is_set():
            key += CLIENTS
            for statement in (f"INSERT INTO small VALUES ({key}, 'n')", f"SELECT note FROM small WHERE id = {key}"):
                began = time.monotonic()
                try:
                    cursor.execute(statement)
                except Exception as error:  # pylint: disable=broad-except
                    errors.append(str(error))
                ended = time.monotonic()
                took.append((ended, ended - began))
            time.sleep(PAUSE_SECONDS)
        self.out.put((took, errors))

    def __enter__(self):
        for process in self.processes:
            process.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for _ in self.processes:
            took, errors = self.out.get(timeout=60)
            self.statements += took
            self.errors += errors

    def between(self, first, last):
        took = sorted(t for ended, t in self.statements if first <= ended <= last)
        return {"per_second": len(took) / (last - first), "p50_ms": 1000 * took[len(took) // 2],
                "p99_ms": 1000 * took[len(took) * 99 // 100]}


def replica_files(cluster, node):
    files = [os.path.join(root, name) for root, _, names in os.walk(cluster.store(node)) for name in names]
    return [file for file in files if os.path.basename(file) == "db"]


def copy_all(cluster, files):
    return sum(copy_seconds(file, f"{cluster.dir}/copy") for file in files)


def elsewhere(ranges, node_id):
    return ranges and all(len(r["insync"]) >= 3 and node_id not in r["insync"] + r["learners"] for r in ranges)


def fill(cluster, databases, mib):
    for name in databases:
        with cluster.connect(0).cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    for name in databases:
        with cluster.connect(0, name).cursor() as cursor:
            cursor.execute("CREATE TABLE big (id bigint PRIMARY KEY, note text NOT NULL)")
            cursor.execute("CREATE TABLE small (id bigint PRIMARY KEY, note text NOT NULL)")
        grow(Target(*cluster.sql_address(0), name), 0, mib * 1024 * 1024 // ROW_BYTES)
        say(f"{name} filled")
    cluster.wait_replicated(3, ranges=len(databases) + 1, seconds=120)


def move(cluster, node):
    """The node is decommissioned. Seconds from the command until every range is whole without it."""
    facts, host = cluster.facts(node), cluster.facts(0)["listen_addr"]
    began = time.monotonic()
    command = subprocess.Popen([BINARY, "node", "decommission", str(facts["node_id"]), f"--host={host}"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_until("the replicas", 1800, lambda: elsewhere(cluster.ranges(), facts["node_id"]), every=0.05)
    moved = time.monotonic() - began
    said = command.communicate(timeout=120)[0]
    if command.returncode != 0:
        raise RuntimeError(f"the node was not decommissioned: {said}")
    return moved


def measure(options):
    databases = [f"moved_{i}" for i in range(options.databases)]
    with Cluster(options.nodes) as cluster:
        with cluster.connect(0).cursor() as cursor:
            cursor.execute("SET CLUSTER SETTING kv.snapshot_rebalance.max_rate = '1TiB'")
        fill(cluster, databases, options.mib)
        time.sleep(3)  # leaseholders write their last pages when they have been idle for a second
        node = options.nodes - 1
        files = replica_files(cluster, node)
        size = sum(os.path.getsize(file) for file in files)
        kept = f"{cluster.dir}/kept"
        os.mkdir(kept)
        copies = [shutil.copyfile(file, f"{kept}/{i}") for i, file in enumerate(files)]
        os.sync()
        with Clients(cluster, 0, databases) as clients:
            time.sleep(2)
            first = time.monotonic()
            time.sleep(options.steady_seconds)
            second = time.monotonic()
            copied = [copy_all(cluster, copies) for _ in range(2)]
            third = time.monotonic()
            moved = move(cluster, node)
            fourth = time.monotonic()
            copied += [copy_all(cluster, copies) for _ in range(2)]
    steady, during = clients.between(first, second), clients.between(third, fourth)
    copying = clients.between(second, third)
    row = {"databases": options.databases, "mib": size / 2**20, "replicas": len(files), "copies_seconds": copied,
           "copy_seconds": statistics.median(copied), "seconds": moved, "steady": steady, "during": during,
           "copying": copying, "errors": len(clients.errors)}
    row["efficiency"], row["p99_ratio"] = moved / row["copy_seconds"], during["p99_ms"] / steady["p99_ms"]
    say(f"{row['replicas']} replicas of {row['mib']:.0f} MiB moved in {moved:.2f} s, cp and fsync "
        f"{', '.join(f'{c:.2f}' for c in copied)} s: efficiency {row['efficiency']:.2f}; {steady['per_second']:.0f} "
        f"statements a second before, {during['per_second']:.0f} meanwhile, p99 {steady['p99_ms']:.1f} and "
        f"{during['p99_ms']:.1f} ms (while copying {copying['p99_ms']:.1f}), {row['errors']} failed")
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="256 MiB, one run")
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--databases", type=int, default=0)
    parser.add_argument("--mib", type=int, default=0, help="of each database")
    parser.add_argument("--runs", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args()
    options.databases = options.databases or (8 if options.quick else 16)
    options.mib = options.mib or (32 if options.quick else 64)
    options.runs = options.runs or (1 if options.quick else 3)
    options.steady_seconds = 5 if options.quick else 15
    rows = [measure(options) for _ in range(options.runs)]
    efficiency = statistics.median(row["efficiency"] for row in rows)
    p99 = statistics.median(row["p99_ratio"] for row in rows)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "runs": rows, "efficiency": efficiency, "p99_ratio": p99,
                       "wanted": [EFFICIENCY_WANTED, P99_WANTED]}, file, indent=1)
    return 0 if efficiency <= EFFICIENCY_WANTED and p99 <= P99_WANTED and not any(r["errors"] for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
