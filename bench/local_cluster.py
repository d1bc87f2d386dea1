"""Nodes as real processes on this machine, for measurements. Everything is gone when the `with` block ends."""
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

import psycopg2

from processes import tree_cpu_seconds

BINARY = os.environ.get("OUTLAST_BINARY", "build/release/outlast")
PR_SET_PDEATHSIG = 1


def _die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, seconds, reached, every=0.02):
    """Asks `reached` until it returns something true, and returns that; TimeoutError names `what`."""
    deadline = time.monotonic() + seconds
    while True:
        result = reached()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} took longer than {seconds} s")
        time.sleep(every)


def machine():
    """What figures depend on."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "unknown")
    return {"cpu": model, "cores": os.cpu_count(), "kernel": os.uname().release, "load": os.getloadavg()[0],
            "date": time.strftime("%Y-%m-%d %H:%M")}


class Etcd:
    """One etcd on loopback, for clusters that keep their metadata there."""

    def __init__(self, directory):
        ports = [free_port() for _ in range(2)]
        client, peer = (f"http://127.0.0.1:{port}" for port in ports)
        self.url = f"etcd://127.0.0.1:{ports[0]}"
        with open(f"{directory}/etcd.log", "ab") as log:
            self.process = subprocess.Popen(
                ["etcd", f"--data-dir={directory}/etcd", f"--listen-client-urls={client}",
                 f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
                 f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent)

    def stop(self):
        self.process.kill()
        self.process.wait()


class Cluster:
    """`start` of the nodes are started at once, the others by start(); `options` go to every one, `own[node]` to one."""

    def __init__(self, nodes, meta="embedded", start=None, options=(), own=None):
        self.options, self.own = options, own or {}
        self.dir = tempfile.mkdtemp(prefix="outlast-bench-")
        self.meta = f"embedded:{self.dir}/meta"
        self.etcd = None
        if meta == "etcd":
            self.etcd = Etcd(self.dir)
            self.meta = self.etcd.url
        self.processes = [None] * nodes
        self.addresses = [{} for _ in range(nodes)]
        self.first = nodes if start is None else start

    def __enter__(self):
        try:
            for node in range(self.first):
                self.start(node)
            wait_until("init", 20, self._init)
            for node in range(self.first):
                self.wait_ready(node)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for node, process in enumerate(self.processes):
            if process and process.poll() is None:
                self.kill_node(node)
        if self.etcd:
            self.etcd.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _init(self):
        return subprocess.run([BINARY, "init", f"--meta={self.meta}"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False).returncode == 0

    def store(self, node):
        return f"{self.dir}/node{node + 1}"

    def start(self, node):
        known = self.addresses[node]
        if os.path.exists(self.store(node) + "/NODE.json"):
            os.remove(self.store(node) + "/NODE.json")
        words = [f"--{name}-addr={known.get(name + '_addr', '127.0.0.1:0')}" for name in ("listen", "sql", "http")]
        with open(self.store(node) + ".log", "ab") as log:
            self.processes[node] = subprocess.Popen(
                [BINARY, "start", f"--store={self.store(node)}", f"--meta={self.meta}", *words, *self.options,
                 *self.own.get(node, ())],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent, start_new_session=True)

    def facts(self, node):
        try:
            with open(self.store(node) + "/NODE.json", encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return None

    def get(self, node, path):
        facts = self.facts(node)
        try:
            with urllib.request.urlopen(f"http://{facts['http_addr']}{path}", timeout=5) as answer:
                return answer.read()
        except (OSError, TypeError):
            return None

    def ranges(self):
        for node in range(len(self.processes)):
            answer = self.get(node, "/api/ranges")
            if answer is not None:
                return json.loads(answer)
        return []

    def wait_ready(self, node, not_worker=0):
        def ready():
            facts = self.facts(node)
            return facts and facts["worker_pid"] != not_worker and self.get(node, "/health?ready=1") is not None and facts

        self.addresses[node] = wait_until(f"node {node + 1}", 60, ready)

    def wait_replicated(self, copies, ranges=1, seconds=60):
        def whole():
            now = self.ranges()
            return len(now) >= ranges and all(r["leaseholder"] and len(r["insync"]) >= copies for r in now)

        wait_until("full replication", seconds, whole)

    def create_databases(self, prefix, count, seconds):
        """`count` databases with no load, each on all nodes."""
        with self.connect(0).cursor() as cursor:
            for number in range(count):
                cursor.execute(f"CREATE DATABASE {prefix}_{number}")
        self.wait_replicated(len(self.processes), ranges=count, seconds=seconds)

    def leaseholder_of(self, database):
        by_id = {facts["node_id"]: node for node in range(len(self.processes)) if (facts := self.facts(node))}
        return next((by_id.get(r["leaseholder"]) for r in self.ranges() if r["database"] == database), None)

    def kill_worker(self, node):
        pid = self.facts(node)["worker_pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill_node(self, node):
        """Supervisor first, or it would start another worker."""
        facts = self.facts(node)
        self.processes[node].kill()
        self.processes[node].wait()
        try:
            os.killpg(self.processes[node].pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        if facts:
            try:
                os.kill(facts["worker_pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass

    def cpu_seconds(self):
        return sum(tree_cpu_seconds(process.pid) for process in self.processes if process)

    def sql_address(self, node):
        host, _, port = self.addresses[node]["sql_addr"].rpartition(":")
        return host, int(port)

    def connect(self, node, database="defaultdb"):
        host, port = self.sql_address(node)
        connection = psycopg2.connect(host=host, port=port, user="root", dbname=database, sslmode="disable",
                                      connect_timeout=10)
        connection.autocommit = True
        return connection
