"""Nodes as real processes, each in its own network namespace, for the fault tests."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request

BINARY = os.path.abspath(os.environ.get("OUTLAST_BINARY", "build/release/outlast"))
PATIENCE = 90  # seconds; a busy machine is slow, and what never comes fails all the same


class Failure(Exception):
    """What was expected did not happen."""


def wait_for(what, reached, seconds=PATIENCE):
    """Polls until `reached` returns something true, and returns that."""
    deadline = time.monotonic() + seconds
    while True:
        got = reached()
        if got:
            return got
        if time.monotonic() > deadline:
            raise Failure(f"{what} did not come within {seconds} s")
        time.sleep(0.05)


class Node:
    def __init__(self, cluster, number, store):
        self.cluster, self.number, self.store = cluster, number, store
        self.host = f"n{number}"
        self.log = cluster.dir / f"{self.host}.log"
        self.process = None
        self.environment = {}

    def address(self):
        return self.cluster.network.address(self.host)

    def url(self, database="defaultdb"):
        return f"postgresql://root@{self.address()}:26257/{database}"

    def start(self):
        (self.store / "NODE.json").unlink(missing_ok=True)
        ip = self.address()
        command = [BINARY, "start", f"--store={self.store}", f"--meta={self.cluster.meta}", f"--listen-addr={ip}:26258",
                   f"--sql-addr={ip}:26257", f"--http-addr={ip}:8080", "--insecure", f"--log-file={self.log}"]
        self.process = subprocess.Popen(self.cluster.network.inside(self.host) + command, stdin=subprocess.DEVNULL,
                                        stdout=open(f"{self.log}.out", "ab"), stderr=subprocess.STDOUT,
                                        env={**os.environ, **self.environment})

    def facts(self):
        try:
            return json.loads((self.store / "NODE.json").read_text())
        except (OSError, ValueError):
            return None

    def get(self, path, seconds=3):
        """The answer of the node's HTTP API; none while it gives no good one."""
        try:
            with urllib.request.urlopen(f"http://{self.address()}:8080{path}", timeout=seconds) as answer:
                return answer.read().decode()
        except (OSError, urllib.error.HTTPError):
            return None

    def id(self):
        facts = self.facts()
        return facts["node_id"] if facts else None

    def worker(self):
        facts = self.facts()
        return facts["worker_pid"] if facts else None

    def wait_ready(self, not_worker=None):
        def ready():
            if self.process.poll() is not None:
                raise Failure(f"{self.host} ended with code {self.process.returncode}")
            return self.facts() and self.worker() != not_worker and self.get("/health?ready=1") is not None
        wait_for(f"{self.host} to be ready", ready)

    def kill_worker(self):
        pid = self.worker()
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill(self):
        """The whole node at once: supervisor, then worker."""
        pid = self.worker()
        self.process.kill()
        self.process.wait()
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            wait_for(f"the end of {self.host}", lambda: not pathlib.Path(f"/proc/{pid}/cmdline").exists()
                     or pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() == b"")

    def logged(self, text):
        try:
            return re.search(text, self.log.read_text(errors="replace")) is not None
        except OSError:
            return False


class Cluster:
    """Three nodes over one metadata store. `store_of` may give a node a folder of its own, such as a small disk."""

    def __init__(self, network, directory, meta=None, nodes=3, store_of=None, environment=None):
        self.network = network
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True)
        self.meta = meta or f"embedded:{self.dir}/meta"
        self.nodes = []
        for number in range(1, nodes + 1):
            store = (store_of(number) if store_of else None) or self.dir / f"store{number}"
            node = Node(self, number, pathlib.Path(store))
            node.environment = (environment or {}).get(number, {})
            self.nodes.append(node)
        for node in self.nodes:
            if node.host not in network.addresses:
                network.add(node.host)
            node.start()
        wait_for("`outlast init`", lambda: subprocess.run(
            [BINARY, "init", f"--meta={self.meta}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0)
        for node in self.nodes:
            node.wait_ready()

    def stop(self):
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.kill()

    def ranges(self, via=None):
        for node in [via] if via else self.nodes:
            answer = node.get("/api/ranges")
            if answer is not None:
                return json.loads(answer)
        return []

    def range(self, database, via=None):
        return next((r for r in self.ranges(via) if r["database"] == database), None)

    def replica_id(self, database, node, via):
        """Of the replica that the record lists for the node; none when there is none."""
        record = json.loads(via.get(f"/api/ranges/{self.range(database, via)['id']}"))["record"]
        listed = record["insync"] + record.get("learners", [])
        return next((r["replica"] for r in listed if r["node"] == node.id()), None)

    def node(self, node_id):
        return next((n for n in self.nodes if n.id() == node_id), None)

    def holder(self, database, via=None):
        def found():
            r = self.range(database, via)
            return r and r["leaseholder"] and self.node(r["leaseholder"])
        return wait_for(f"a leaseholder of {database}", found)

    def backups(self, database):
        holder = self.holder(database)
        return [n for n in self.nodes if n is not holder]

    def members(self, database, via=None):
        r = self.range(database, via)
        return sorted(r["insync"]) if r else []

    def wait_members(self, database, nodes, via=None, seconds=PATIENCE):
        wanted = sorted(n.id() for n in nodes)
        wait_for(f"{database} in sync on exactly {[n.host for n in nodes]}",
                 lambda: self.members(database, via) == wanted, seconds)

    def wait_whole(self, databases, via=None):
        """All nodes in S again, and nothing left to catch up."""
        def whole():
            found = {r["database"]: r for r in self.ranges(via)}
            return all(d in found and len(found[d]["insync"]) == 3 and not found[d]["learners"] and found[d]["leaseholder"]
                       for d in databases)
        wait_for("three copies of everything", whole)

    def compare(self, database):
        """The replicas are the same, byte for byte, at one LSN."""
        seen = {}

        def equal():
            r = self.range(database)
            if not r:
                return False
            texts = [n.get(f"/api/ranges/{r['id']}/digest", 10) for n in self.nodes]
            seen["digests"] = texts
            return all(texts) and len({(d["lsn"], d["crc"]) for d in map(json.loads, texts)}) == 1
        try:
            wait_for(f"equal replicas of {database}", equal, 45)
        except Failure as failure:
            raise Failure(f"{failure}: {seen.get('digests')}") from None


def wipe(path):
    shutil.rmtree(path)
    path.mkdir()
