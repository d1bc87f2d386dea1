"""Faults of three nodes whose metadata is in three etcd members, each in a network namespace of its own."""
import json
import os
import shutil
import signal
import subprocess
import time

from cluster import BINARY, Cluster, Failure, wait_for
from loads import DATABASES, Loads, prepare

MEMBERS = ("e1", "e2", "e3")
etcds = {}


class Etcd:
    def __init__(self, network, directory, host):
        self.network, self.directory, self.host, self.process = network, directory, host, None

    def start(self):
        ip = self.network.address(self.host)
        cluster = ",".join(f"{m}=http://{self.network.address(m)}:2380" for m in MEMBERS)
        self.process = subprocess.Popen(
            [*self.network.inside(self.host), "etcd", "--name", self.host, "--data-dir", self.directory / self.host,
             "--listen-client-urls", f"http://{ip}:2379", "--advertise-client-urls", f"http://{ip}:2379",
             "--listen-peer-urls", f"http://{ip}:2380", "--initial-advertise-peer-urls", f"http://{ip}:2380",
             "--initial-cluster", cluster, "--unsafe-no-fsync"],
            stdout=open(self.directory / f"{self.host}.log", "ab"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def signal(self, number):
        self.process.send_signal(number)

    def is_leader(self):
        done = subprocess.run(["etcdctl", f"--endpoints=http://{self.network.address(self.host)}:2379", "endpoint", "status",
                               "-w", "json"], env={**os.environ, "ETCDCTL_API": "3"}, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=15)
        if done.returncode != 0:
            return False
        status = json.loads(done.stdout)[0]["Status"]
        return status.get("leader") == status["header"]["member_id"]  # absent while there is none


def leader():
    return wait_for("etcd's leader", lambda: next((e for e in etcds.values()
                                                   if e.process.poll() is None and e.is_leader()), None))


def unavailable():
    if shutil.which("etcd") is None:
        return "etcd is missing (Debian package etcd-server)"
    refused = subprocess.run([BINARY, "init", "--meta=etcd://127.0.0.1:1/x"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=60)
    return "this program knows no --meta=etcd" if "not understood" in refused.stdout else None


def start(network, directory):
    metadata = directory.parent / f"{directory.name}-etcd"
    metadata.mkdir()
    for host in MEMBERS:
        if host not in network.addresses:
            network.add(host)
    for running in etcds.values():
        if running.process.poll() is None:
            running.kill()
    for host in MEMBERS:
        etcds[host] = Etcd(network, metadata, host)
        etcds[host].start()
    leader()
    url = "etcd://" + ",".join(f"{network.address(m)}:2379" for m in MEMBERS) + "/faults"
    cluster = Cluster(network, directory, meta=url)
    prepare(cluster)
    return cluster


def stop():
    for member in etcds.values():
        if member.process.poll() is None:
            member.kill()


def epoch(cluster, via=None):
    return wait_for("the range", lambda: cluster.range("register", via))["epoch"]


def etcd_leader_killed(c, seed):
    """nothing visible: leases and sets stay as they are, and the member is taken back"""
    with Loads(c, "etcd_leader", seed) as load:
        before = epoch(c)
        member = leader()
        member.kill()
        load.progress("after etcd's leader died")
        leader()
        member.start()
        load.progress("with the member back")
        if epoch(c) != before:
            raise Failure("a lease moved, though only etcd's leader changed")
    return load.summary()


def node_cut_from_etcd(c, seed):
    """a leaseholder that metadata no longer hears is fenced and replaced; it learns by refused appends and comes back"""
    with Loads(c, "node_etcd", seed) as load:
        holder, before = c.holder("register"), epoch(c)
        survivor = next(n for n in c.nodes if n is not holder)
        for member in MEMBERS:
            c.network.cut(holder.host, member)
        load.progress("before the node is fenced", survivor)
        wait_for("a take-over", lambda: epoch(c, survivor) > before and c.holder("register", survivor) is not holder, 60)
        load.progress("after the take-over", survivor)
        c.network.heal()
        c.wait_whole(DATABASES, survivor)
    return load.summary()


def etcd_away_for_30_s(c, seed):
    """data goes on, reads confirmed by the in-sync set; nothing moves, and nobody is fenced when it is back"""
    with Loads(c, "etcd_away", seed) as load:
        before, incarnations = epoch(c), [n.worker() for n in c.nodes]
        for member in etcds.values():
            member.kill()
        gone = time.monotonic()
        reads = len(load.register.history)
        while time.monotonic() < gone + 30:
            load.progress(f"{time.monotonic() - gone:.0f} s without etcd")
            time.sleep(1)
        if not any(op.kind == "read" and op.begin > gone + 10 for op in load.register.history[reads:]):
            raise Failure("no read was answered after the deadline of the leases")
        for member in etcds.values():
            member.start()
        leader()
        load.progress("with etcd back")
        c.wait_whole(DATABASES)
        if epoch(c) != before or [n.worker() for n in c.nodes] != incarnations:
            raise Failure("somebody was fenced though all lived")
    return load.summary()


def etcd_stopped_briefly(c, seed):
    """metadata out of reach for less than the TTL: nothing visible"""
    with Loads(c, "etcd_stopped", seed) as load:
        before = epoch(c)
        for member in etcds.values():
            member.signal(signal.SIGSTOP)
        try:
            load.progress("while etcd is stopped")
            time.sleep(2)
            load.progress("while etcd is still stopped")
        finally:
            for member in etcds.values():
                member.signal(signal.SIGCONT)
        leader()
        if epoch(c) != before:
            raise Failure("a lease moved, though etcd was away for less than the TTL")
    return load.summary()


def shown(cursor, node):
    """(StatusCode, Alive) of a backend."""
    cursor.execute("SHOW BACKENDS")
    names = [column.name for column in cursor.description]
    row = next(r for r in cursor.fetchall() if int(r[0]) == node)
    return row[names.index("StatusCode")], str(row[names.index("Alive")]).lower()


def exit_with_heartbeats_lost(c, seed):
    """a node that exits while its heartbeats are late, twice: SHUTDOWN all the time, never dead, and its exit ends"""
    import psycopg2
    with Loads(c, "exit_heartbeats", seed) as load:
        holder = c.holder("register")
        survivor = next(n for n in c.nodes if n is not holder)
        number, before = holder.id(), epoch(c)
        watch, reader = psycopg2.connect(survivor.url()), psycopg2.connect(survivor.url("register"))
        watch.autocommit = True
        sql, read = watch.cursor(), reader.cursor()
        for setting, value in (("min_graceful_exit_time_second", "1"), ("loop_count_wait_fragments_finish", "6"),
                               ("graceful_exit_wait_for_frontend_heartbeat", "true")):
            sql.execute(f"SET CLUSTER SETTING {setting} = {value}")
        read.execute("SELECT v FROM r WHERE id = 1")  # a transaction that keeps the exit open
        for member in MEMBERS:
            c.network.cut(holder.host, member)
        stopping = subprocess.Popen([BINARY, "stop", "-g", f"--store={holder.store}", "--timeout=90"],
                                    stdout=open(f"{holder.log}.stop", "wb"), stderr=subprocess.STDOUT)
        load.progress("while nobody can hear that it exits", survivor)
        if shown(sql, number)[0] != "OK":
            raise Failure(f"nobody can know yet: {shown(sql, number)}")
        c.network.heal()
        wait_for("SHUTDOWN", lambda: shown(sql, number)[0] == "SHUTDOWN")
        for member in MEMBERS:
            c.network.cut(holder.host, member)
        late = time.monotonic() + 3  # less than liveness.ttl
        while time.monotonic() < late:
            if shown(sql, number) != ("SHUTDOWN", "true"):
                raise Failure(f"an exiting node with late heartbeats is {shown(sql, number)}")
        c.network.heal()
        read.execute("SELECT v FROM r WHERE id = 1")
        reader.commit()
        wait_for("the end of the exit", lambda: stopping.poll() is not None)
        if stopping.returncode != 0 or holder.process.wait(30) != 0:
            raise Failure(f"`outlast stop` {stopping.returncode}: {open(f'{holder.log}.stop').read()}")
        wait_for("DISCONNECTED", lambda: shown(sql, number) == ("DISCONNECTED", "false"))
        if epoch(c, survivor) != before + 1:
            raise Failure("the lease was to move once, by the node itself")
        watch.close(), reader.close()
        load.progress("after the exit", survivor)
        holder.start()
        holder.wait_ready()
        c.wait_whole(DATABASES)
    return load.summary()


SCENARIOS = [etcd_leader_killed, etcd_stopped_briefly, exit_with_heartbeats_lost, node_cut_from_etcd, etcd_away_for_30_s]
