#!/usr/bin/env python3
"""What clients notice of restarts without downtime, and what these cost. See bench/README.md."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time

from local_cluster import BINARY, Cluster, machine
from postgres import Postgres
from processes import children, rss_mib
from restart_clients import IdleSessions, SqlClients
from restart_run import peers

WANTED = {"three": {"pause_ms": 250, "median_s": 2.0}, "one": {"pause_ms": 1000, "median_s": 2.0}, "idle_s": 1.0}
CLIENTS = 8
PHASES = ("trial", "standby", "sessions", "released", "owned", "total")
FLAT_FDS, FLAT_MIB = 3, 8


def restart(cluster, node):
    done = subprocess.run([BINARY, "restart", f"--store={cluster.store(node)}", "--wait", "--format=json"],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    try:
        last = json.loads(done.stdout.strip().split("\n")[-1])
    except ValueError as error:
        raise RuntimeError(f"restart: {done.stdout}") from error
    receipt = last.get("receipt", last)
    if receipt["outcome"] != "completed":
        raise RuntimeError(f"restart: {receipt}")
    return receipt


def summary(values):
    return {"median": statistics.median(values), "max": max(values)}


def prepare(cluster, nodes):
    with cluster.connect(0).cursor() as cursor:
        cursor.execute("CREATE TABLE t (id bigint PRIMARY KEY)")
    if nodes > 1:
        cluster.wait_replicated(nodes)


def under_load(nodes, restarts):
    """The nodes in turn, one right after the other, while clients of all nodes read and write."""
    with Cluster(nodes) as cluster:
        prepare(cluster, nodes)
        clients = SqlClients([(*cluster.sql_address(node), "defaultdb") for node in range(nodes)], CLIENTS)
        began = time.monotonic()
        receipts = []
        try:
            for number in range(restarts):
                receipts.append(restart(cluster, number % nodes))
        finally:
            load, spent = clients.stop(), time.monotonic() - began
        with cluster.connect(0).cursor() as cursor:
            cursor.execute("SELECT count(*) FROM t")
            missing = load["rows"] - cursor.fetchone()[0]
    for error in load["errors"]:
        print(error, file=sys.stderr)
    wanted = WANTED["one" if nodes == 1 else "three"]
    row = {"nodes": nodes, "restarts": restarts, "clients": CLIENTS, "load": load, "missing": missing,
           "per_second": load["statements"] / spent,
           "phases_ms": {phase: summary([r["duration_ms"][phase] for r in receipts]) for phase in PHASES},
           "moved": sum(r["sessions"]["moved"] for r in receipts),
           "not_moved": sum(len(r["sessions"]["not_moved"]) for r in receipts),
           "wanted": wanted}
    row["pass"] = (load["failed"] == load["lost"] == missing == row["not_moved"] == 0 and
                   load["longest_ms"] <= wanted["pause_ms"] and
                   row["phases_ms"]["total"]["median"] <= 1000 * wanted["median_s"])
    return row


class Memory:
    """The most memory that the workers of a supervisor have at once, looked at until the block ends."""

    def __init__(self, supervisor):
        self.supervisor, self.over = supervisor, threading.Event()
        self.most = []
        self.thread = threading.Thread(target=self._look)

    def _look(self):
        while not self.over.is_set():
            now = []
            for pid in children(self.supervisor):
                try:
                    now.append(rss_mib(pid))
                except (OSError, StopIteration):
                    pass  # it ends
            if sum(now) > sum(self.most):
                self.most = now
            self.over.wait(0.01)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def idle(sessions, rounds):
    rows = []
    with Cluster(1, options=[f"--max-connections={2 * sessions}"]) as cluster:
        clients = IdleSessions((*cluster.sql_address(0), "defaultdb"), sessions)
        for _ in range(rounds):
            pid = cluster.processes[0].pid
            before = rss_mib(cluster.facts(0)["worker_pid"])
            with Memory(pid) as memory:
                receipt = restart(cluster, 0)
            rows.append({"sessions": sessions, "moved": receipt["sessions"]["moved"], "alive": clients.ask_all(),
                         "moving_ms": receipt["duration_ms"]["sessions"], "total_ms": receipt["duration_ms"]["total"],
                         "pause_ms": receipt["sessions"]["pause_ms"], "before_mib": before, "workers_mib": memory.most})
            rows[-1]["pass"] = (rows[-1]["alive"] == rows[-1]["moved"] == sessions and
                                rows[-1]["moving_ms"] <= 1000 * WANTED["idle_s"])
        clients.close()
    return rows


def footprint(cluster):
    supervisor, worker = cluster.processes[0].pid, cluster.facts(0)["worker_pid"]
    return {name: {"fds": len(os.listdir(f"/proc/{pid}/fd")), "mib": rss_mib(pid)}
            for name, pid in (("supervisor", supervisor), ("worker", worker))}


def flat(restarts):
    """One session moves along from worker to worker. The first restarts bring what is there only once."""
    with Cluster(1) as cluster:
        prepare(cluster, 1)
        cursor = cluster.connect(0).cursor()
        seen = []
        for number in range(restarts + 5):
            restart(cluster, 0)
            cursor.execute("SELECT 1")
            if number >= 4:
                seen.append(footprint(cluster))
    row = {"restarts": restarts, "before": seen[0], "after": seen[-1]}
    row["pass"] = all(seen[-1][name]["fds"] - seen[0][name]["fds"] <= FLAT_FDS and
                      seen[-1][name]["mib"] - seen[0][name]["mib"] <= FLAT_MIB for name in seen[0])
    return row


def postgres_peer(restarts):
    """pg_ctl's fast restart of a primary with two standbys, under the same clients, which connect again."""
    with Postgres() as server:
        with server.connect().cursor() as cursor:
            cursor.execute("CREATE TABLE t (id bigint PRIMARY KEY)")
        clients = SqlClients([(*server.address(), "postgres")], CLIENTS, again=True)
        seconds = []
        try:
            for _ in range(restarts):
                began = time.monotonic()
                server.restart()
                seconds.append(time.monotonic() - began)
                time.sleep(0.5)  # clients come back
        finally:
            load = clients.stop()
    return {"restarts": restarts, "load": load, "seconds": summary(seconds)}


def show(results):
    for row in results.get("under_load", []):
        total, load = row["phases_ms"]["total"], row["load"]
        print(f"{row['nodes']} node(s), {row['restarts']} restarts, {load['statements']:,} statements "
              f"({row['per_second']:,.0f}/s): {load['failed']} failed, {load['lost']} connections lost, {row['missing']} rows "
              f"missing, longest pause {load['longest_ms']:.0f} ms ({load['over_100_ms']} over 100 ms), restart "
              f"{total['median']:.0f} ms (median), {total['max']:.0f} ms (max)")
        print("   " + ", ".join(f"{p} {row['phases_ms'][p]['median']:.0f}" for p in PHASES) + " ms (medians)")
    for row in results.get("idle", []):
        pause = row["pause_ms"]
        print(f"{row['sessions']:,} idle sessions: {row['moved']:,} moved in {row['moving_ms']:.0f} ms, {row['alive']:,} "
              f"answer; pause p50 {pause['p50']:.0f}, p99 {pause['p99']:.0f}, max {pause['max']:.0f} ms; memory "
              f"{row['before_mib']:.0f} MiB before, {' + '.join(f'{mib:.0f}' for mib in row['workers_mib'])} MiB at most")
    if "flat" in results:
        row = results["flat"]
        for name in ("supervisor", "worker"):
            old, new = row["before"][name], row["after"][name]
            print(f"{name} after {row['restarts']} restarts: {new['fds']} descriptors ({old['fds']} before), "
                  f"{new['mib']:.1f} MiB ({old['mib']:.1f} before)")
    for row in results.get("run", []):
        print(f"{row['name']}: {row['reloads']} reloads, {row['connections']:,} connections, {row['failed']} failed, slowest "
              f"{row['slowest_ms']:.0f} ms; reload {1000 * row['median_reload_s']:.0f} ms (median); {row['left_over']} processes "
              f"left over, {row['long_kept']} of {row['long']} long requests kept")
    if "postgres" in results:
        row = results["postgres"]
        print(f"PostgreSQL, {row['restarts']} fast restarts: {row['load']['failed']} statements failed, {row['load']['lost']} "
              f"connections lost, longest pause {row['load']['longest_ms']:.0f} ms, restart "
              f"{1000 * row['seconds']['median']:.0f} ms (median)")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the restarts and sessions")
    parser.add_argument("--only", default="three,one,idle,flat,run,postgres")
    parser.add_argument("--json")
    options = parser.parse_args()
    few = 10 if options.quick else 1
    parts, results = options.only.split(","), {"machine": machine()}
    results["under_load"] = [under_load(nodes, 100 // few)
                             for name, nodes in (("three", 3), ("one", 1)) if name in parts]
    results["idle"] = idle(10_000 // few, 3) if "idle" in parts else []
    if "flat" in parts:
        results["flat"] = flat(200 // few)
    if "run" in parts:
        results["run"] = peers(20 // min(few, 4), 20_000 // few)
        results["run"][0]["pass"] = results["run"][0]["failed"] == results["run"][0]["left_over"] == 0
    if "postgres" in parts:
        results["postgres"] = postgres_peer(20 // min(few, 4))
    show(results)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    checked = [*results["under_load"], *results["idle"], results.get("flat", {}), *results.get("run", [])]
    return 0 if all(row.get("pass", True) for row in checked) else 1


if __name__ == "__main__":
    sys.exit(main())
