#!/usr/bin/env python3
"""Time from kill -9 until a range answers again, as a client at another gateway sees it. See bench/README.md."""
import argparse
import json
import statistics
import sys
import time

import psycopg2

from local_cluster import Cluster

TTL_SECONDS = 5.0  # liveness.ttl's default
KINDS = (("worker", False, 0.5), ("node", True, TTL_SECONDS + 1.0))  # what is killed, seconds wanted


def prepare(cluster):
    with cluster.connect(0).cursor() as cursor:
        cursor.execute("CREATE DATABASE app")
    with cluster.connect(0, "app").cursor() as cursor:
        cursor.execute("CREATE TABLE t (id bigint PRIMARY KEY)")
    cluster.wait_replicated(3)


def answers(connection, sequence):
    """True when a write and a read of the range are answered; 40003 and 40001 mean: ask again."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO t VALUES (%s)", (sequence,))
            cursor.execute("SELECT count(*) FROM t")
            return cursor.fetchone() is not None
    except psycopg2.Error:
        return False


def measure(cluster, sequence, whole_node):
    holder = cluster.leaseholder_of("app")
    if holder is None:
        raise RuntimeError("nobody leads the range")
    gateway = (holder + 1) % len(cluster.processes)
    connection = cluster.connect(gateway, "app")
    if not answers(connection, next(sequence)):
        raise RuntimeError("the range does not answer before the kill")
    began = time.monotonic()
    if whole_node:
        cluster.kill_node(holder)
        old = 0
    else:
        old = cluster.kill_worker(holder)
    while not answers(connection, next(sequence)):
        if connection.closed:
            connection = cluster.connect(gateway, "app")
        if time.monotonic() - began > 60:
            raise TimeoutError("the range did not answer within 60 s of the kill")
    took = time.monotonic() - began
    if whole_node:
        cluster.start(holder)
    cluster.wait_ready(holder, old)
    cluster.wait_replicated(3)
    return took


def numbers():
    value = 0
    while True:
        value += 1
        yield value


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json")
    options = parser.parse_args()
    results, sequence = {}, numbers()
    with Cluster(3) as cluster:
        prepare(cluster)
        for name, whole_node, wanted in KINDS:
            took = sorted(measure(cluster, sequence, whole_node) for _ in range(options.runs))
            results[name] = {"runs": len(took), "median_seconds": statistics.median(took), "max_seconds": took[-1],
                             "wanted_seconds": wanted, "pass": statistics.median(took) <= wanted, "seconds": took}
    print(f"{'killed':10}{'runs':>6}{'median s':>10}{'max s':>8}{'wanted':>8}")
    for name, r in results.items():
        print(f"{name:10}{r['runs']:6}{r['median_seconds']:10.3f}{r['max_seconds']:8.3f}{r['wanted_seconds']:8.1f}"
              f"  {'ok' if r['pass'] else 'WORSE THAN WANTED'}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    return 0 if all(r["pass"] for r in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
