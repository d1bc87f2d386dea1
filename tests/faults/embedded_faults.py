"""Faults of three nodes on one embedded metadata store: killed, stopped, cut off, with bad or full disks."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import psycopg2

from cluster import Cluster, Failure, wait_for, wipe
from loads import DATABASES, Loads, prepare

DISK_MB = 1500  # the log alone keeps 256 MiB for replicas that are away
HERE = pathlib.Path(__file__).resolve().parent


def unavailable():
    return None


def stop():
    """Everything belongs to the cluster."""


def start(network, directory):
    """Every store is a small disk of its own, and every node's syncs can be made to fail."""
    disks = {}

    def store_of(number):
        disks[number] = directory / f"disk{number}"
        disks[number].mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "none", disks[number]], check=True)
        store = disks[number] / "store"
        store.mkdir()
        return store

    shim = directory.parent / "failing_sync.so"
    if not shim.exists():
        subprocess.run(["clang-19", "-O1", "-shared", "-fPIC", "-o", shim, HERE / "failing_sync.c"], check=True)
    environment = {n: {"LD_PRELOAD": str(shim), "OUTLAST_FAULT_SYNC": str(directory / f"sync{n}")} for n in (1, 2, 3)}
    cluster = Cluster(network, directory, store_of=store_of, environment=environment)
    prepare(cluster)
    return cluster


def epoch(cluster, database="register", via=None):
    return wait_for("the range", lambda: cluster.range(database, via))["epoch"]


def other(cluster, *not_these):
    return next(n for n in cluster.nodes if n not in not_these)


def bystander(c):
    """A node that leads neither database: what happens to it is a backup's fault and nobody else's."""
    leads = {c.holder(database) for database in DATABASES}
    return next(n for n in c.nodes if n not in leads)


# ---- processes

def worker_of_leaseholder_killed(c, seed):
    """another member takes over at once, and the node comes back"""
    with Loads(c, "holder_killed", seed) as load:
        holder, before = c.holder("register"), epoch(c)
        pid = holder.kill_worker()
        wait_for("a take-over", lambda: epoch(c, via=other(c, holder)) > before, 30)
        load.progress("after the take-over")
        holder.wait_ready(not_worker=pid)
        c.wait_whole(DATABASES)
    return load.summary()


def leaseholders_node_lost(c, seed):
    """another member takes over without it; it rejoins when it is back"""
    with Loads(c, "holder_lost", seed) as load:
        holder = c.holder("register")
        holder.kill()
        survivor = other(c, holder)
        wait_for("another leaseholder", lambda: c.holder("register", survivor) is not holder, 30)
        load.progress("without the node", survivor)
        holder.start()
        holder.wait_ready()
    return load.summary()


def backup_killed(c, seed):
    """it leaves S, writes go on, and it is taken back"""
    with Loads(c, "backup_killed", seed) as load:
        holder, backup = c.holder("register"), c.backups("register")[0]
        before = epoch(c)
        backup.kill()
        c.wait_members("register", [n for n in c.nodes if n is not backup], holder)
        load.progress("without the backup", holder)
        backup.start()
        backup.wait_ready()
        if epoch(c) != before:
            raise Failure("the lease moved, though only a backup was killed")
    return load.summary()


def leaseholder_stopped(c, seed):
    """SIGSTOP beyond the TTL: it is fenced, another takes over; on waking it serves nothing and exits"""
    with Loads(c, "holder_stopped", seed) as load:
        holder, before = c.holder("register"), epoch(c)
        survivor = other(c, holder)
        pid = holder.worker()
        for _ in range(5):  # stopped within a metadata write, it holds the file's lock: then it is not what we test
            os.kill(pid, signal.SIGSTOP)
            try:
                wait_for("a take-over", lambda: epoch(c, via=survivor) > before, 20)
                break
            except Failure:
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.2)
        else:
            raise Failure("nobody took over from a leaseholder that was stopped")
        load.progress("while it is stopped", survivor)
        os.kill(pid, signal.SIGCONT)
        wait_for("the end of the fenced worker", lambda: holder.worker() != pid)
        holder.wait_ready(not_worker=pid)
    return load.summary()


def backup_stopped(c, seed):
    """SIGSTOP for longer than repl.ack_timeout: writes stall so long, then it leaves S; it is taken back"""
    with Loads(c, "backup_stopped", seed) as load:
        holder, backup = c.holder("register"), c.backups("register")[0]
        pid = backup.worker()
        os.kill(pid, signal.SIGSTOP)
        try:
            c.wait_members("register", [n for n in c.nodes if n is not backup], holder, 30)
            load.progress("without the backup", holder)
        finally:
            os.kill(pid, signal.SIGCONT)
    return load.summary()


# ---- the network

def each_pair_cut(c, seed):
    """a backup that the leaseholder cannot reach leaves S; two backups that cannot reach each other do no harm"""
    with Loads(c, "pairs_cut", seed) as load:
        for a, b in ((0, 1), (0, 2), (1, 2)):
            one, two = c.nodes[a], c.nodes[b]
            holder, before = c.holder("register"), epoch(c)
            c.network.cut(one.host, two.host)
            if holder in (one, two):
                lost = two if holder is one else one
                c.wait_members("register", [n for n in c.nodes if n is not lost], holder, 30)
            load.progress(f"with {one.host} and {two.host} cut", holder)
            if holder not in (one, two) and len(c.members("register", holder)) != 3:
                raise Failure("a member left S, though the leaseholder reaches it")
            if epoch(c, via=holder) != before:
                raise Failure("the lease moved, though only two nodes were cut off from each other")
            c.network.heal()
            c.wait_whole(DATABASES)
    return load.summary()


def cut_one_way(c, seed):
    """appends that do not arrive, or acknowledgements that do not: the backup leaves S either way"""
    with Loads(c, "one_way", seed) as load:
        for outwards in (True, False):
            holder = c.holder("register")
            backup = c.backups("register")[0]
            source, target = (holder, backup) if outwards else (backup, holder)
            c.network.cut_one_way(source.host, target.host)
            c.wait_members("register", [n for n in c.nodes if n is not backup], holder, 30)
            load.progress(f"while {source.host} does not reach {target.host}", holder)
            c.network.heal()
            c.wait_whole(DATABASES)
    return load.summary()


def leaseholder_cut_from_backups(c, seed):
    """it shrinks S to min_insync, stalls, gives its lease up, and a member that is reached takes over"""
    with Loads(c, "holder_cut", seed) as load:
        holder, before = c.holder("register"), epoch(c)
        backups = c.backups("register")
        for backup in backups:
            c.network.cut(holder.host, backup.host)
        wait_for("another leaseholder", lambda: epoch(c, via=backups[0]) > before and
                 c.holder("register", backups[0]) is not holder, 60)
        load.progress("through the other side", backups[0])
        c.network.heal()
    return load.summary()


def slow_and_lossy(c, seed):
    """5 % of packets lost and queues of 150 ms between all nodes: slow, and nothing wrong"""
    with Loads(c, "lossy", seed) as load:
        hosts = [n.host for n in c.nodes]
        for i, a in enumerate(hosts):
            for b in hosts[i + 1:]:
                c.network.lose(a, b, 5)
        for host in hosts:
            c.network.delay(host)
        for _ in range(3):
            load.progress("over the bad network")
        c.network.heal()
    return load.summary()


# ---- disks

def fill(node):
    """Leaves no byte of the node's disk."""
    ballast = node.store.parent / "ballast"
    with open(ballast, "wb") as out:
        try:
            while True:
                out.write(bytes(1 << 16))
                out.flush()
        except OSError:
            pass
    return ballast


def disk_full_on_backup(c, seed):
    """it leaves S, writes go on; with space again it is taken back"""
    with Loads(c, "backup_full", seed) as load:
        holder, backup = c.holder("register"), bystander(c)
        ballast = fill(backup)
        c.wait_members("register", [n for n in c.nodes if n is not backup], holder, 60)
        load.progress("without the full disk", holder)
        ballast.unlink()
    return load.summary()


def disk_full_on_leaseholder(c, seed):
    """the lease goes to a member with space; with space again the replica is whole"""
    with Loads(c, "holder_full", seed) as load:
        holder = c.holder("register")
        survivor = other(c, holder)
        ballast = fill(holder)
        wait_for("another leaseholder", lambda: c.holder("register", survivor) is not holder, 60)
        load.progress("at the new leaseholder", survivor)
        ballast.unlink()
    return load.summary()


def failing_syncs(node):
    control = node.cluster.dir / f"sync{node.number}"
    control.write_text(str(node.store))
    return control


def store_failure(c, node, via):
    return next(n["store_failure"] for n in json.loads(via.get("/api/nodes") or "[]") if n["id"] == node.id())


def worker_ends(c, node, pid, via):
    """After a failed sync the worker ends, and is started again in vain; nothing is placed on that disk meanwhile."""
    wait_for("the end of the worker", lambda: not pathlib.Path(f"/proc/{pid}").exists())
    if not node.logged("the disk of the store failed"):
        raise Failure("the worker does not say why it ended")
    if not store_failure(c, node, via):
        raise Failure("the node's record does not say that its disk failed")
    wait_for("its replica to leave the range", lambda: node.id() not in c.range("register", via)["learners"])
    starts = node.log.read_text(errors="replace").count("supervisor: worker")
    for _ in range(50):
        if node.id() in c.range("register", via)["learners"]:
            raise Failure("a learner was placed on the disk that fails")
        time.sleep(0.1)
    again = node.log.read_text(errors="replace").count("supervisor: worker") - starts
    if again > 60:
        raise Failure(f"the worker was started {again // 2} times in 5 s")


def disk_works_again(c, node, control, pid, via):
    control.unlink()
    node.wait_ready(not_worker=pid)
    if not store_failure(c, node, via):
        raise Failure("the disk is trusted without a probation")
    wait_for("the end of the probation", lambda: not store_failure(c, node, via))


def sync_fails_on_backup(c, seed):
    """out of S at once and its worker ends; nothing is placed there while syncs fail; rebuilt when the disk is good"""
    with Loads(c, "backup_sync", seed) as load:
        holder, backup = c.holder("register"), bystander(c)
        pid, old = backup.worker(), c.replica_id("register", backup, holder)
        control = failing_syncs(backup)
        c.wait_members("register", [n for n in c.nodes if n is not backup], holder, 60)
        load.progress("without the failing disk", holder)
        worker_ends(c, backup, pid, holder)
        disk_works_again(c, backup, control, pid, holder)
        wait_for("a new replica", lambda: (c.replica_id("register", backup, holder) or 0) > old)
    return load.summary()


def sync_fails_on_leaseholder(c, seed):
    """it stands down and its worker ends, another member takes over, the replica is rebuilt when the disk is good"""
    with Loads(c, "holder_sync", seed) as load:
        holder, before = c.holder("register"), epoch(c)
        survivor = other(c, holder)
        pid, old = holder.worker(), c.replica_id("register", holder, survivor)
        control = failing_syncs(holder)
        wait_for("another leaseholder", lambda: epoch(c, via=survivor) > before and
                 c.holder("register", survivor) is not holder, 60)
        load.progress("at the new leaseholder", survivor)
        worker_ends(c, holder, pid, survivor)
        disk_works_again(c, holder, control, pid, survivor)
        wait_for("a new replica", lambda: (c.replica_id("register", holder, survivor) or 0) > old)
    return load.summary()


def flip(path, where):
    """One bit, as a disk that forgets does it."""
    with open(path, "r+b") as f:
        f.seek(where)
        byte = f.read(1)[0]
        f.seek(where)
        f.write(bytes([byte ^ 0x10]))


def range_dir(node, r):
    return node.store / "ranges" / str(r["id"])


def flipped_bit_in_log(c, seed):
    """a bit flipped in the log of a stopped backup: found when it is opened, read or scrubbed; the replica is rebuilt"""
    with Loads(c, "log_bit", seed) as load:
        backup = c.backups("register")[0]
        backup.kill()
        load.progress("without the backup")
        log = max(range_dir(backup, c.range("register")).glob("log.*"))
        flip(log, len(log.read_bytes().rstrip(b"\0")) // 2)
        backup.start()
        backup.wait_ready()
        wait_for("the damage to be named", lambda: backup.logged(r"range \d+.*(damaged|cannot be opened)"))
    return load.summary()


def flipped_bit_in_database(c, seed):
    """a bit flipped in the database file of a stopped backup: the scrubber finds it, and the replica is rebuilt"""
    with Loads(c, "file_bit", seed) as load:
        backup = c.backups("register")[0]
        backup.kill()
        load.progress("without the backup")
        file = range_dir(backup, c.range("register")) / "db"
        flip(file, file.stat().st_size - 100)  # in the last page, where the register's only row is
        backup.start()
        backup.wait_ready()
        wait_for("the damage to be named", lambda: backup.logged(r"range \d+.*(damaged|cannot be opened)"))
    return load.summary()


def setting(c, statement):
    connection = psycopg2.connect(c.nodes[0].url(), connect_timeout=10)
    connection.autocommit = True
    connection.cursor().execute(statement)
    connection.close()


def wiped_store(c, seed):
    """a wiped store under the old address is a new node; its old replicas are replaced, never in sync by themselves"""
    with Loads(c, "wiped", seed) as load:
        backup = c.backups("register")[0]
        old = backup.id()
        setting(c, "SET CLUSTER SETTING server.time_until_store_dead = '5s'")  # its replicas go to the new node then
        backup.kill()
        wipe(backup.store)
        backup.start()
        backup.wait_ready()
        if backup.id() == old:
            raise Failure("the wiped store goes by its old identity")
        load.progress("with the new node")
        c.wait_whole(DATABASES)
        setting(c, "RESET CLUSTER SETTING server.time_until_store_dead")
    return load.summary()


# ---- metadata

def metadata_restored_from_old_copy(c, seed):
    """the stores know later incarnations and epochs: all refuse to serve and say why; with the right one all is there"""
    meta = c.dir / "meta"
    with Loads(c, "meta_old", seed) as load:
        old = restart_with(c, lambda: copy(meta, "old"))
        before = epoch(c)
        c.holder("register").kill_worker()
        wait_for("a take-over", lambda: epoch(c) > before)
        load.progress("after the take-over")
        restart_with(c, lambda: (copy(meta, "new"), put_back(old, meta)), ready=False)
        for node in c.nodes:
            wait_for(f"{node.host} to refuse", lambda n=node: n.logged("lost or regressed its state"))
        load.no_progress(3)
        for node in c.nodes:
            node.kill()
        put_back(c.dir / "new", meta)
        for node in c.nodes:
            node.start()
        for node in c.nodes:
            node.wait_ready()
        load.progress("with the right metadata")
    return load.summary()


def restart_with(c, act, ready=True):
    """All nodes are killed, something is done, and all are started again."""
    for node in c.nodes:
        node.kill()
    result = act()
    for node in c.nodes:
        node.start()
    for node in c.nodes if ready else ():
        node.wait_ready()
    return result


def copy(meta, name):
    target = meta.parent / name
    shutil.copytree(meta, target, ignore=lambda d, names: [n for n in names if not (pathlib.Path(d) / n).is_file()
                                                            and not (pathlib.Path(d) / n).is_dir()])
    return target


def put_back(source, meta):
    shutil.rmtree(meta)
    shutil.copytree(source, meta)


SCENARIOS = [worker_of_leaseholder_killed, leaseholders_node_lost, backup_killed, leaseholder_stopped, backup_stopped,
             each_pair_cut, cut_one_way, leaseholder_cut_from_backups, slow_and_lossy, disk_full_on_backup,
             disk_full_on_leaseholder, sync_fails_on_backup, sync_fails_on_leaseholder, flipped_bit_in_log, flipped_bit_in_database,
             metadata_restored_from_old_copy, wiped_store]
