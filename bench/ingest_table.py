"""Records into a table with three copies: how many a second, and what one costs."""
import json
import tempfile
import time

from ingest_load import Load, count
from local_cluster import Cluster, free_port, wait_until

DATABASE = "defaultdb"
CONFIG = """[[input]]
type = "syslog"
name = "stream"
listen = "tcp://127.0.0.1:{tcp}"
parser = "syslog"
[[input]]
type = "syslog"
name = "datagrams"
listen = "udp://127.0.0.1:{udp}"
parser = "syslog"
[[sink]]
type = "table"
match = "*"
database = "defaultdb"
table = "logs"
[sink.buffer]
flush_interval = "1s"
flush_thread_count = {threads}
total_limit_size = "64MiB"
"""


class Table:
    """Three nodes with inputs each; records go to the one that leads the database."""

    def __init__(self, folder, threads):
        self.ports, own = [], {}
        for node in range(3):
            self.ports.append({"tcp": free_port(), "udp": free_port()})
            path = f"{folder}/node{node}.toml"
            with open(path, "w", encoding="utf-8") as file:
                file.write(CONFIG.format(threads=threads, **self.ports[node]))
            own[node] = [f"--config={path}"]
        self.cluster = Cluster(3, own=own)

    def __enter__(self):
        self.cluster.__enter__()
        self.cluster.wait_replicated(3)
        self.node = self.cluster.leaseholder_of(DATABASE)
        return self

    def __exit__(self, *_):
        self.cluster.__exit__()

    def targets(self, kind, senders):
        return [f"{kind}:{self.ports[self.node][kind]}"] * senders

    def stored(self):
        return json.loads(self.cluster.get(self.node, "/api/ingest"))["sinks"][0]["written"]["records"]

    def messages(self, path):
        with self.cluster.connect(self.node, DATABASE).cursor() as cursor, open(path, "w", encoding="utf-8") as out:
            cursor.copy_expert("COPY (SELECT fields ->> 'message' FROM logs) TO STDOUT", out)
        return path


def measure(kind, rate, seconds, senders=4, threads=1):
    """`rate` 0, over TCP: as many as it takes while its buffer is full."""
    with tempfile.TemporaryDirectory(prefix="outlast-bench-table-") as folder, Table(folder, threads) as table:
        cpu, began = table.cluster.cpu_seconds(), time.monotonic()
        with Load(table.targets(kind, senders), rate, seconds) as load:
            sent = load.result()
        wait_until("the records", 120, lambda: table.stored() >= sent["sent"], every=0.05)
        took = time.monotonic() - began
        cpu = table.cluster.cpu_seconds() - cpu
        got = count(table.messages(f"{folder}/messages"), sent)
    return {"kind": kind, "rate": rate, "sent": sent["sent"], "per_second": sent["sent"] / took,
            "cpu_us": 1e6 * cpu / sent["sent"], "sender_cpu_us": 1e6 * sent["cpu_s"] / sent["sent"], **got}
