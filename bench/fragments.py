#!/usr/bin/env python3
"""A scan with an aggregate over a partitioned table on three nodes against the same rows in one range, and what a fragment
costs. See bench/README.md."""
import argparse
import json
import statistics
import sys
import time

from local_cluster import Cluster, machine

FRAGMENT_WANTED_MS = 1.0
SCAN = "SELECT a, count(*), sum(k), max(length(s)) FROM {table} GROUP BY a"
EMPTY = "SELECT count(*) FROM {table}"


def milliseconds(cursor, statement, rounds):
    """Median; the first runs warm caches up."""
    spent = []
    for number in range(rounds + 2):
        began = time.perf_counter()
        cursor.execute(statement)
        cursor.fetchall()
        if number >= 2:
            spent.append(1000 * (time.perf_counter() - began))
    return statistics.median(spent)


def fill(cursor, table, rows):
    for first in range(0, rows, 5000):
        values = ", ".join(f"({k}, {k % 100}, 'a text of row {k}')" for k in range(first, min(first + 5000, rows)))
        cursor.execute(f"INSERT INTO {table} VALUES {values}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.rounds = 60_000, 5
    with Cluster(3) as cluster:
        connection = cluster.connect(0)
        connection.autocommit = True
        cursor = connection.cursor()
        columns = "(k bigint, a int, s text)"
        cursor.execute(f"CREATE TABLE whole {columns}")
        for partitions in (1, 6, 32):
            cursor.execute(f"CREATE TABLE parts{partitions} {columns} PARTITION BY HASH (k) PARTITIONS {partitions}")
        cluster.wait_replicated(3, ranges=1 + 1 + 6 + 32)
        fill(cursor, "whole", options.rows)
        fill(cursor, "parts6", options.rows)
        one = milliseconds(cursor, SCAN.format(table="whole"), options.rounds)
        many = milliseconds(cursor, SCAN.format(table="parts6"), options.rounds)
        few = milliseconds(cursor, EMPTY.format(table="parts1"), 4 * options.rounds)
        most = milliseconds(cursor, EMPTY.format(table="parts32"), 4 * options.rounds)
    per_fragment = (most - few) / 31
    good = per_fragment <= FRAGMENT_WANTED_MS and many < one
    print(f"{options.rows} rows in one range: {one:.1f} ms; in 6 partitions on 3 nodes: {many:.1f} ms ({one / many:.2f} times "
          f"as fast)\none empty fragment: {few:.2f} ms, 32: {most:.2f} ms, each {per_fragment:.3f} ms"
          f"  {'ok' if good else 'WORSE THAN WANTED'}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "rows": options.rows, "one_range_ms": one, "partitions_ms": many,
                       "ratio": one / many, "fragment_ms": per_fragment, "wanted_fragment_ms": FRAGMENT_WANTED_MS,
                       "pass": good}, file, indent=1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
