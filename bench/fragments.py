#!/usr/bin/env python3
"""A scan with an aggregate over a partitioned table on three nodes against the same rows in one range, what a fragment
costs, and what memory the gateway takes when the table grows. See bench/README.md."""
import argparse
import http.client
import json
import statistics
import sys
import time

import psycopg2

from local_cluster import Cluster, machine
from processes import rss_mib

FRAGMENT_WANTED_MS = 1.0
SCAN = "SELECT a, count(*), sum(k), max(length(s)) FROM {table} GROUP BY a"
EMPTY = "SELECT count(*) FROM {table}"
GROWTH = 4  # times as many rows for the look at memory
MEMORY_LIMIT_MIB, MEMORY_SPARE_MIB = 32, 64  # sql.query_memory_limit; SQLite's caches and the pieces under way
QUERIES = {"aggregate": SCAN, "every row at the gateway": "SELECT count(DISTINCT s || k) FROM {table}"}


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


def fill(cluster, table, first, end):
    host, _, port = cluster.facts(0)["http_addr"].rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=120)
    for begin in range(first, end, 100_000):
        body = "".join(f"{k},{k % 100},a text of row {k}\n" for k in range(begin, min(begin + 100_000, end)))
        connection.request("PUT", f"/api/defaultdb/{table}/_stream_load", body)
        answer = json.loads(connection.getresponse().read())
        if answer["Status"] != "Success":
            raise RuntimeError(f"{table}: {answer}")


def peak_mib(pid, cursor, statement):
    """How much the process grew at most while the statement ran, and how that ended."""
    with open(f"/proc/{pid}/clear_refs", "w", encoding="utf-8") as file:
        file.write("5")  # the peak starts anew
    before, ended = rss_mib(pid), "answered"
    try:
        cursor.execute(statement)
        cursor.fetchall()
    except psycopg2.Error as error:
        ended = error.pgcode
    return {"before_mib": before, "grew_mib": rss_mib(pid, "VmHWM") - before, "ended": ended}


def memory(cluster, cursor, table, rows):
    """The gateway's worker at `rows` rows and at GROWTH times as many."""
    pid, found = cluster.facts(0)["worker_pid"], []
    cursor.execute(f"SET CLUSTER SETTING sql.query_memory_limit = '{MEMORY_LIMIT_MIB}MiB'")
    for times in (1, GROWTH):
        if times > 1:
            fill(cluster, table, rows, rows * times)
        for name, query in QUERIES.items():
            found.append({"query": name, "rows": rows * times, **peak_mib(pid, cursor, query.format(table=table))})
    return found


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
        fill(cluster, "whole", 0, options.rows)
        fill(cluster, "parts6", 0, options.rows)
        one = milliseconds(cursor, SCAN.format(table="whole"), options.rounds)
        many = milliseconds(cursor, SCAN.format(table="parts6"), options.rounds)
        few = milliseconds(cursor, EMPTY.format(table="parts1"), 4 * options.rounds)
        most = milliseconds(cursor, EMPTY.format(table="parts32"), 4 * options.rounds)
        grown = memory(cluster, cursor, "parts6", options.rows)
    per_fragment = (most - few) / 31
    for row in grown:
        row["bounded"] = row["grew_mib"] <= MEMORY_LIMIT_MIB + MEMORY_SPARE_MIB
    good = per_fragment <= FRAGMENT_WANTED_MS and many < one and all(row["bounded"] for row in grown)
    print(f"{options.rows} rows in one range: {one:.1f} ms; in 6 partitions on 3 nodes: {many:.1f} ms ({one / many:.2f} times "
          f"as fast)\none empty fragment: {few:.2f} ms, 32: {most:.2f} ms, each {per_fragment:.3f} ms"
          f"  {'ok' if good else 'WORSE THAN WANTED'}")
    for row in grown:
        print(f"{row['query']}, {row['rows']:,} rows: {row['ended']}; the gateway grew {row['grew_mib']:.0f} MiB above "
              f"{row['before_mib']:.0f}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "rows": options.rows, "one_range_ms": one, "partitions_ms": many,
                       "ratio": one / many, "fragment_ms": per_fragment, "wanted_fragment_ms": FRAGMENT_WANTED_MS, "memory": grown,
                       "pass": good}, file, indent=1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
