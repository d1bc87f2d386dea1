#!/usr/bin/env python3
"""Statements per second against PostgreSQL with two synchronous standbys, in one run. See bench/README.md."""
import argparse
import json
import statistics
import sys
import time

from load import SCHEMA, Target, pgbench_init, run
from local_cluster import Cluster, machine
from postgres import Postgres

# name, what pgbench runs, databases, clients, wanted ratio at the leaseholder's node, and through another one
CELLS = [
    ("select", "select-only", 1, (1, 8, 64), 0.7, 0.4),
    ("insert", "insert", 1, (1, 8, 64), 1.0, None),
    ("insert16", "insert", 16, (16, 64), 1.0, None),
    ("tpcb", "tpcb-like", 1, (1, 8, 64), 0.7, None),
    ("copy1000", "copy1000", 1, (1, 8), 1.0, None),
    ("copy1000i", "copy1000i", 1, (1, 8), 1.0, None),
]
ONE, MANY = "bench", [f"bench{i}" for i in range(16)]


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def prepare(target, make_database, scale):
    for database in (ONE, *MANY):
        make_database(database)
    pgbench_init(target, ONE, scale)
    for database in (ONE, *MANY):
        with target.connect(database).cursor() as cursor:
            for statement in SCHEMA.split(";"):
                if statement.strip():
                    cursor.execute(statement)


def make_database(connection):
    def make(name):
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
    return make


class Outlast:
    def __init__(self, cluster):
        self.cluster = cluster

    def targets(self, databases, through_other):
        """Where clients connect: each database at its leaseholder's node, or all at the node after it."""
        found = []
        for database in databases:
            node = self.cluster.leaseholder_of(database)
            if node is None:
                raise RuntimeError(f"nobody leads {database}")
            if through_other:
                node = (node + 1) % len(self.cluster.processes)
            found.append(Target(*self.cluster.sql_address(node), database))
        return found


def measure(systems, options):
    """Rounds of all cells; in each the servers take turns, so that what the machine does hits them alike."""
    samples = {}
    for number in range(options.rounds):
        for name, kind, databases, counts, _, other in CELLS:
            names = MANY[:databases] if databases > 1 else [ONE]
            for clients in counts:
                if options.only and f"{name}/{clients}" not in options.only and name not in options.only:
                    continue
                ways = ["postgres", "outlast"] + (["outlast_other"] if other and clients == 8 else [])
                for way in ways if number % 2 == 0 else reversed(ways):
                    targets, cpu = systems[way](names)
                    before = cpu()
                    got = run(targets, kind, clients, options.seconds, options.scale)
                    got["cpu_us"] = 1e6 * (cpu() - before) / max(1, got["done"])
                    samples.setdefault((name, clients, way), []).append(got)
                    say(f"round {number + 1} {name} {clients} clients, {way}: {got['per_second']:.0f}/s")
    return samples


def summarize(samples):
    wanted = {name: (here, other) for name, _, _, _, here, other in CELLS}
    rows = []
    for (name, clients, way), runs in samples.items():
        row = {"name": name, "clients": clients, "server": way, "runs": [round(r["per_second"], 1) for r in runs]}
        for key in ("per_second", "latency_ms", "cpu_us"):
            row[key] = statistics.median(r[key] for r in runs)
        if way != "postgres":
            pairs = zip(runs, samples[name, clients, "postgres"])
            row["ratio"] = statistics.median(ours["per_second"] / theirs["per_second"] for ours, theirs in pairs)
            row["wanted"] = wanted[name][way == "outlast_other"]
            row["pass"] = row["ratio"] >= row["wanted"]
        rows.append(row)
    return rows


def table(rows):
    print(f"{'load':10}{'clients':>8}{'server':>15}{'per s':>10}{'ms':>9}{'CPU us':>9}{'ratio':>8}{'wanted':>8}")
    for r in rows:
        ratio = f"{r['ratio']:8.2f}{r['wanted']:8.1f}  {'ok' if r['pass'] else 'WORSE'}" if "ratio" in r else ""
        print(f"{r['name']:10}{r['clients']:8}{r['server']:>15}{r['per_second']:10.0f}{r['latency_ms']:9.2f}"
              f"{r['cpu_us']:9.0f}{ratio}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 s for each measurement instead of 10")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=int, default=10, help="of pgbench's tables: 100,000 accounts each")
    parser.add_argument("--sync", choices=("FIRST", "ANY"), default="FIRST", help="PostgreSQL's rule for its standbys")
    parser.add_argument("--meta", choices=("embedded", "etcd"), default="embedded", help="the cluster's metadata store")
    parser.add_argument("--only", action="append", help="a load, or LOAD/CLIENTS; may be given again")
    parser.add_argument("--json")
    options = parser.parse_args()
    options.seconds = max(1, round(options.seconds or (2 if options.quick else 10)))
    with Postgres(options.sync) as postgres, Cluster(3, meta=options.meta) as cluster:
        say("filling PostgreSQL")
        pg = Target(*postgres.address(), ONE)
        prepare(pg, make_database(postgres.connect()), options.scale)
        say("filling Outlast")
        prepare(Target(*cluster.sql_address(0), ONE), make_database(cluster.connect(0)), options.scale)
        cluster.wait_replicated(3, ranges=1 + len(MANY))
        outlast = Outlast(cluster)
        systems = {
            "postgres": lambda names: ([Target(pg.host, pg.port, *names)], postgres.cpu_seconds),
            "outlast": lambda names: (outlast.targets(names, False), cluster.cpu_seconds),
            "outlast_other": lambda names: (outlast.targets(names, True), cluster.cpu_seconds),
        }
        samples = measure(systems, options)
    rows = summarize(samples)
    table(rows)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "seconds": options.seconds, "rounds": options.rounds,
                       "scale": options.scale, "sync": options.sync, "meta": options.meta, "rows": rows}, file, indent=1)
    return 0 if all(row.get("pass", True) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
