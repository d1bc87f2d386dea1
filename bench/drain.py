#!/usr/bin/env python3
"""How fast a node leaves service: 100 busy leases, 1,000 idle ones, and the process's end. See bench/README.md."""
import argparse
import json
import os
import signal
import sys
import threading
import time
import urllib.request

from local_cluster import Cluster, machine, wait_until

BUSY_SECONDS_WANTED, IDLE_SECONDS_WANTED, EXIT_SECONDS_WANTED = 1.0, 2.0, 1.0
WRITERS = 4


def post(cluster, node, path):
    request = urllib.request.Request(f"http://{cluster.facts(node)['http_addr']}{path}", data=b"", method="POST")
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def gather(cluster, node):
    """All leases to one node, faster than placement evens them out again."""
    for other in range(3):
        if other != node:
            post(cluster, other, f"/api/leases/transfer?to={cluster.facts(node)['node_id']}&at_once=200")


class Writers:
    """Rows into all databases in turn, through a node that stays, until the block ends; errors are kept."""

    def __init__(self, cluster, gateway, databases):
        self.over, self.rows, self.errors = threading.Event(), 0, []
        shares = [databases[i::WRITERS] for i in range(WRITERS)]
        self.threads = [threading.Thread(target=self._run, args=(cluster, gateway, share)) for share in shares]

    def _run(self, cluster, gateway, databases):
        cursors = [cluster.connect(gateway, name).cursor() for name in databases]
        while not self.over.is_set():
            for cursor in cursors:
                try:
                    cursor.execute("INSERT INTO t VALUES (1)")
                    self.rows += 1
                except Exception as error:  # pylint: disable=broad-except
                    self.errors.append(str(error))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_until("the writers", 60, lambda: self.rows > 400)
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def drain(cluster, node):
    post(cluster, node, "/api/drain?action=drain&by=bench")
    return wait_until("the drain", 120, lambda: (s := json.loads(cluster.get(node, "/api/drain"))) and s["end"] and s)


def measure(cluster, node, leases):
    gather(cluster, node)
    receipt = drain(cluster, node)
    row = {"leases": leases, "moved": receipt["leases_moved"], "failed": receipt["lease_moves_failed"],
           "leases_left_s": (receipt["leases_left_ms"] or 0) / 1000, "complete_s": receipt["elapsed_ms"] / 1000,
           "end": receipt["end"]}
    post(cluster, node, "/api/drain?action=undrain")
    cluster.wait_replicated(3, ranges=leases, seconds=120)
    return row


def exit_seconds(cluster, node):
    drain(cluster, node)
    began = time.monotonic()
    os.kill(cluster.processes[node].pid, signal.SIGTERM)
    cluster.processes[node].wait(timeout=60)
    return time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="300 idle databases instead of 1,000")
    parser.add_argument("--json")
    options = parser.parse_args()
    idle = 300 if options.quick else 1000
    rows = []
    with Cluster(3) as cluster:
        cluster.create_databases("busy", 100, seconds=300)
        names = [f"busy_{i}" for i in range(100)]
        for name in names:
            cluster.connect(1, name).cursor().execute("CREATE TABLE t (a bigint)")
        with Writers(cluster, 1, names) as writers:
            for node in (0, 2, 0):
                rows.append({"kind": "busy", **measure(cluster, node, 100)})
        rows[-1]["errors"] = len(writers.errors)
        cluster.create_databases("idle", idle - 100, seconds=900)
        for node in (0, 1, 2):
            rows.append({"kind": "idle", **measure(cluster, node, idle)})
        ended = exit_seconds(cluster, 2)
    for row in rows:
        wanted = BUSY_SECONDS_WANTED if row["kind"] == "busy" else IDLE_SECONDS_WANTED
        row["wanted_s"] = wanted
        row["pass"] = row["end"] == "complete" and row["leases_left_s"] <= wanted and not row.get("errors")
        print(f"{row['kind']}: {row['moved']} leases left in {row['leases_left_s']:.2f} s (wanted {wanted:.0f} s), "
              f"{row['failed']} moves failed, {row['end']} after {row['complete_s']:.2f} s"
              + (f", {row['errors']} statements failed" if "errors" in row else ""))
    print(f"process gone {ended:.2f} s after SIGTERM to a drained node (wanted {EXIT_SECONDS_WANTED:.0f} s)")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "rounds": rows, "exit_s": ended}, file, indent=1)
    return 0 if all(row["pass"] for row in rows) and ended <= EXIT_SECONDS_WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
