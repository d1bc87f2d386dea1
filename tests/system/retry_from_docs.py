#!/usr/bin/python3
"""The retry code of docs/operating.md, as it stands there, against nodes that drain, stop and die under it."""
import os
import pathlib
import re
import subprocess
import sys
import threading

import psycopg2

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("OUTLAST_BINARY", str(ROOT / "build/release/outlast"))
sys.path.insert(0, str(ROOT / "bench"))
from local_cluster import BINARY, Cluster, wait_until  # noqa: E402  (in the folder of the line above, and reads the one before)

THREADS = 4


def code_of_the_docs():
    text = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    return re.search(r"<!-- tests/system/retry_from_docs\.py .*?-->\n```python\n(.*?)```", text, re.S).group(1)


class Load:
    """Threads that put each number of their own into a table once, through the code of the documentation."""

    def __init__(self, store_type, dsn):
        self.stop, self.done, self.errors = threading.Event(), [0] * THREADS, []
        self.threads = [threading.Thread(target=self._work, args=(store_type(dsn), i)) for i in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def _work(self, store, number):
        try:
            while not self.stop.is_set():
                key = f"{number}/{self.done[number]}"
                store.run(key, lambda cursor, key=key: cursor.execute("INSERT INTO work (id) VALUES (%s)", (key,)))
                self.done[number] += 1
        except Exception as error:  # pylint: disable=broad-except  # whatever it is, it is what the test is about
            self.errors.append(f"{type(error).__name__} {getattr(error, 'pgcode', '')}: {error}")

    def progress(self, more):
        """Until every thread has done so much more, or one has failed."""
        wanted = [n + more for n in self.done]
        wait_until("progress of every client", 90,
                   lambda: self.errors or all(n >= w for n, w in zip(self.done, wanted)))

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def drain(cluster, node, *words):
    number = str(cluster.facts(node)["node_id"])
    host = cluster.facts((node + 1) % 3)["listen_addr"]
    done = subprocess.run([BINARY, "node", "drain", number, f"--host={host}", *words], capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == 0, f"node drain {number}: code {done.returncode}\n{done.stdout}{done.stderr}"


def restart(cluster, node):
    cluster.start(node)
    cluster.wait_ready(node)
    cluster.wait_replicated(3, ranges=1, seconds=90)


def run(cluster):
    namespace = {}
    exec(compile(code_of_the_docs(), "docs/operating.md", "exec"), namespace)  # pylint: disable=exec-used
    facts = [cluster.facts(node) for node in range(3)]
    ports = ",".join(f["sql_addr"].rpartition(":")[2] for f in facts)
    dsn = f"host=127.0.0.1,127.0.0.1,127.0.0.1 port={ports} user=root dbname=defaultdb connect_timeout=10"
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE done (id text PRIMARY KEY, at timestamptz DEFAULT now())")
        cursor.execute("CREATE TABLE work (id text NOT NULL)")  # no key: a second copy has to show
    cluster.wait_replicated(3, ranges=1, seconds=60)
    load = Load(namespace["Store"], dsn)
    try:
        load.progress(20)
        drain(cluster, 0)  # the node that every client prefers, with the default settings: sessions are told to go
        load.progress(20)
        cluster.kill_node(0)
        restart(cluster, 0)
        drain(cluster, 1, "--shutdown")
        wait_until("the end of node 2", 30, lambda: cluster.processes[1].poll() is not None)
        load.progress(20)
        restart(cluster, 1)
        cluster.kill_node(0)  # no drain at all: outcomes that nobody knows
        load.progress(20)
        restart(cluster, 0)
    finally:
        load.end()
    assert not load.errors, "\n".join(load.errors)
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT id) FROM work")
        rows, different = cursor.fetchone()
    wanted = sum(load.done)
    assert (rows, different) == (wanted, wanted), f"{wanted} done, {rows} rows, {different} different ones"
    print(f"{wanted} transactions, each applied exactly once")


def main():
    try:
        with Cluster(3) as cluster:
            run(cluster)
    except (AssertionError, TimeoutError, OSError, psycopg2.Error, subprocess.SubprocessError) as error:
        print(f"FAILED: {error}")
        print("0 passed, 1 failed")
        return 1
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
