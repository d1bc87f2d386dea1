"""Bank, append and register workloads that run while something breaks, and the checks of what they were told."""
import signal
import subprocess
import time

import register
from cluster import BINARY, Failure, wait_for

DATABASES = ["load_1", "register"]
WRITES = 10  # that show that a range works


def prepare(cluster):
    urls = ",".join(n.url() for n in cluster.nodes)
    subprocess.run([BINARY, "workload", "init", f"--url={urls}", "--databases=1", "--accounts=50", "--drop"], check=True,
                   stdout=subprocess.DEVNULL)
    register.RegisterLoad.prepare(cluster.nodes[0])
    cluster.wait_whole(DATABASES)


class Loads:
    """`with Loads(cluster, name, seed) as load:` the clients run in the block, and are judged at its end."""

    def __init__(self, cluster, name, seed):
        self.cluster, self.seed = cluster, seed
        self.journal = cluster.dir / f"{name}.journal"
        self.output = cluster.dir / f"{name}.workload"
        self.urls = ",".join(n.url() for n in cluster.nodes)

    def __enter__(self):
        urls = self.urls
        # The bank's and the rows' table are made anew, so that each journal tells of everything.
        def made():
            return subprocess.run([BINARY, "workload", "init", f"--url={urls}", "--databases=1", "--accounts=50", "--drop"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
        wait_for("the tables of the load", made)
        self.cluster.wait_whole(DATABASES)
        self.process = subprocess.Popen(
            [BINARY, "workload", "run", f"--url={urls}", "--databases=1", "--accounts=50", "--clients=4",
             "--duration=600s", f"--seed={self.seed}", f"--journal={self.journal}"],
            stdout=open(self.output, "wb"), stderr=subprocess.STDOUT)
        self.register = register.RegisterLoad(self.cluster.nodes, self.seed)
        self.register.start(self._value())
        self.progress("before the fault")
        return self

    def progress(self, when, node=None, seconds=60):
        """Until so many writes that began after now are acknowledged, through `node` if given."""
        now = time.monotonic()
        wait_for(f"{WRITES} writes {when}" + (f" through {node.host}" if node else ""),
                 lambda: self.register.writes_since(now, node) >= WRITES, seconds)

    def no_progress(self, seconds):
        """No write that begins in that time is acknowledged."""
        now = time.monotonic()
        time.sleep(seconds)
        if self.register.writes_since(now):
            raise Failure("a write was acknowledged that could not have been")

    def _value(self):
        def read():
            import psycopg2
            for node in self.cluster.nodes:
                try:
                    connection = psycopg2.connect(node.url("register"), connect_timeout=3)
                    cursor = connection.cursor()
                    cursor.execute("SELECT v FROM r WHERE id = 1")
                    value = cursor.fetchone()[0]
                    connection.close()
                    return (value,)
                except psycopg2.Error:
                    pass
            return None
        return wait_for("the register's value", read)[0]

    def __exit__(self, kind, value, trace):
        self.register.ending.set()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(90)
        finally:
            self.process.kill()
        if kind is not None:
            return
        self.register.stop()
        self._judge()

    def _judge(self):
        cluster = self.cluster
        cluster.wait_whole(DATABASES)
        why = register.violation(self.register.history, self.register.initial)
        if why:
            raise Failure(f"the register is not linearizable: {why}")
        verified = subprocess.run([BINARY, "workload", "verify", f"--url={self.urls}", "--databases=1",
                                   f"--journal={self.journal}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if verified.returncode != 0:
            raise Failure(f"the load's rows: {verified.stdout}")
        for database in DATABASES:
            cluster.compare(database)

    def summary(self):
        return f"{self.register.written} register writes, errors {self.register.errors or 'none'}"
