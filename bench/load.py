"""Loads for both servers: pgbench, and COPY in batches. Each returns transactions per second and the mean latency."""
import io
import multiprocessing
import os
import random
import re
import subprocess
import tempfile
import time

import psycopg2

from postgres import BIN

SCHEMA = """
CREATE TABLE item (id bigint PRIMARY KEY, owner integer NOT NULL, note text NOT NULL);
CREATE TABLE batch (owner integer NOT NULL, note text NOT NULL);
CREATE TABLE batch_indexed (owner integer NOT NULL, note text NOT NULL);
CREATE INDEX batch_owner ON batch_indexed (owner);
"""
SCRIPTS = {
    "insert": r"""\set id random(1, 9000000000000000000)
\set owner random(1, 1000000)
INSERT INTO item (id, owner, note) VALUES (:id, :owner, 'one hundred bytes or so of text, as an order line or a log record would have, with no end of it');
""",
}
COPIES = {"copy1000": "batch", "copy1000i": "batch_indexed"}
BATCH_ROWS, BATCHES = 1000, 20


class Target:
    """A server's address and one or more databases there."""

    def __init__(self, host, port, *databases):
        self.host, self.port, self.databases = host, int(port), databases

    def environment(self):
        return {**os.environ, "PGHOST": self.host, "PGPORT": str(self.port), "PGUSER": "root", "PGSSLMODE": "disable"}

    def connect(self, database):
        connection = psycopg2.connect(host=self.host, port=self.port, user="root", dbname=database, sslmode="disable")
        connection.autocommit = True
        return connection


def pgbench_init(target, database, scale):
    done = subprocess.run([f"{BIN}/pgbench", "-i", "-I", "dtgp", "-q", "-s", str(scale), database],
                          env=target.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError(f"pgbench -i: {done.stdout}")


def _number(pattern, text):
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"pgbench said: {text}")
    return float(found.group(1))


def pgbench(targets, kind, clients, seconds, scale, variables=()):
    """Runs `kind` on every database of every target at once, the clients shared out among them."""
    databases = [(target, database) for target in targets for database in target.databases]
    each = max(1, clients // len(databases))
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        if kind in SCRIPTS:
            script.write(SCRIPTS[kind])
            script.flush()
            what = ["-f", script.name]
        else:
            what = ["-b", kind, "-s", str(scale)]
        for name in variables:
            what += ["-D", f"{name}={variables[name]}"]
        threads = ["-j", "2"] if each > 8 else []
        running = [
            subprocess.Popen([f"{BIN}/pgbench", "-n", "-M", "prepared", "--max-tries=20", *what, *threads,
                              "-c", str(each), "-T", str(seconds), database],
                             env=target.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for target, database in databases
        ]
        outputs = [process.communicate()[0] for process in running]
    for process, output in zip(running, outputs):
        if process.returncode != 0:
            raise RuntimeError(f"pgbench: {output}")
    tps = sum(_number(r"tps = ([\d.]+) \(without initial", output) for output in outputs)
    done = sum(_number(r"actually processed: (\d+)", output) for output in outputs)
    latency = sum(_number(r"latency average = ([\d.]+) ms", output) for output in outputs) / len(outputs)
    return {"per_second": tps, "latency_ms": latency, "done": done}


def _batches(seed):
    chance = random.Random(seed)
    for _ in range(BATCHES):
        yield "".join(f"{chance.randrange(1_000_000_000)}\ta line of some forty bytes of plain text\n"
                      for _ in range(BATCH_ROWS))


def _copy_until(host, port, database, table, seed, seconds, begin, out):
    connection = Target(host, port, database).connect(database)
    texts = list(_batches(seed))
    begin.wait()
    end, done = time.monotonic() + seconds, 0
    with connection.cursor() as cursor:
        while time.monotonic() < end:
            cursor.copy_expert(f"COPY {table} (owner, note) FROM STDIN", io.StringIO(texts[done % BATCHES]))
            done += 1
    out.put(done)


def copy_batches(targets, table, clients, seconds):
    target, database = targets[0], targets[0].databases[0]
    begin, out = multiprocessing.Barrier(clients + 1), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=_copy_until, daemon=True,
                                       args=(target.host, target.port, database, table, seed, seconds, begin, out))
               for seed in range(clients)]
    for worker in workers:
        worker.start()
    begin.wait(30)
    began = time.monotonic()
    done = sum(out.get(timeout=seconds + 60) for _ in workers)
    spent = time.monotonic() - began
    for worker in workers:
        worker.join()
    return {"per_second": done / spent, "latency_ms": 1000 * spent * clients / max(1, done), "done": done}


def run(targets, kind, clients, seconds, scale):
    if kind in COPIES:
        return copy_batches(targets, COPIES[kind], clients, seconds)
    return pgbench(targets, kind, clients, seconds, scale)
