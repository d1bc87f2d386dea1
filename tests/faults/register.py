"""A register that clients read and write, and a check that what they saw is linearizable.

Every written value is unique, so it is known which write each read saw, and the check takes n log n: Gibbons and Korach,
"Testing Shared Memories", SIAM J. Comput. 26(4), 1997. Each value's cluster (its write and the reads of it) has a zone
from the earliest end to the latest beginning of its operations. A zone that runs forward is a time at which the register
certainly held the value; one that runs backward, a span within which there was some instant of it. The history is
linearizable exactly if no read ends before its write begins, no two forward zones overlap, and no backward zone lies
within a forward one. A write of unknown outcome that was read ends at infinity; one that nobody read never happened."""
import dataclasses
import random
import threading
import time

import psycopg2

INFINITY = float("inf")


@dataclasses.dataclass
class Operation:
    kind: str  # "write" or "read"
    value: int
    begin: float
    end: float  # INFINITY: of unknown outcome


def violation(history, initial=0):
    """None, or a sentence that says why no order of the operations explains what they saw."""
    writes = {initial: Operation("write", initial, -1.0, -1.0)}
    reads = {}
    for op in history:
        if op.kind == "write":
            writes[op.value] = op
        else:
            reads.setdefault(op.value, []).append(op)
    for value, seen in reads.items():
        if value not in writes:
            return f"{value} was read, and nobody wrote it or was told that it failed"
        if min(r.end for r in seen) < writes[value].begin:
            return f"{value} was read before it was written"
    forward, backward = [], []
    for value, write in writes.items():
        if write.end == INFINITY and value not in reads:
            continue
        cluster = [write, *reads.get(value, [])]
        first_end, last_begin = min(o.end for o in cluster), max(o.begin for o in cluster)
        (forward if first_end < last_begin else backward).append(
            (min(first_end, last_begin), max(first_end, last_begin), value))
    forward.sort()
    for (_, end, a), (begin, _, b) in zip(forward, forward[1:]):
        if begin < end:
            return f"{a} and {b} were both the register's value at one time"
    for begin, end, value in backward:
        for f_begin, f_end, other in forward:
            if f_begin < begin and end < f_end:
                return f"{value} was written while the register certainly held {other}"
    return None


def explainable(history, initial=0):
    """The same question by brute force (Wing and Gong 1993), for short histories: to check the check."""
    ops = list(history)

    def search(done, value):
        if all(i in done or (op.kind == "write" and op.end == INFINITY) for i, op in enumerate(ops)):
            return True
        limit = min(op.end for i, op in enumerate(ops) if i not in done)
        for i, op in enumerate(ops):
            if i in done or op.begin > limit or (op.kind == "read" and op.value != value):
                continue
            if search(done | {i}, op.value):
                return True
        return False
    return search(frozenset(), initial)


def self_test(histories=3000, seed=1):
    """The two checks agree on random histories of which some are linearizable and some are not."""
    rng = random.Random(seed)
    verdicts = {True: 0, False: 0}
    for number in range(histories):
        history, value = [], 0
        for _ in range(rng.randint(2, 7)):
            begin = rng.random()
            end = INFINITY if rng.random() < 0.1 else begin + rng.random() * 0.5
            if rng.random() < 0.5:
                value += 1
                history.append(Operation("write", value, begin, end))
            elif end < INFINITY:
                history.append(Operation("read", rng.randint(0, value), begin, end))
        fast, slow = violation(history) is None, explainable(history)
        if fast != slow:
            raise AssertionError(f"seed {seed}, history {number}: {history}: {violation(history)}, brute force: {slow}")
        verdicts[slow] += 1
    if min(verdicts.values()) < histories / 20:
        raise AssertionError(f"too few of one kind: {verdicts}")


class RegisterLoad:
    """One client thread a gateway, on a single-row table; runs from start() to stop()."""

    def __init__(self, nodes, seed):
        self.nodes, self.seed = nodes, seed
        self.history, self.lock, self.ending = [], threading.Lock(), threading.Event()
        self.next_value, self.written, self.errors = 0, 0, {}
        self.acknowledged = []  # (gateway, begin) of each write
        self.threads = []

    @staticmethod
    def prepare(node):
        admin = psycopg2.connect(node.url(), connect_timeout=10)
        admin.autocommit = True
        admin.cursor().execute("CREATE DATABASE register")
        admin.close()
        connection = psycopg2.connect(node.url("register"), connect_timeout=10)
        connection.autocommit = True
        connection.cursor().execute("CREATE TABLE r (id bigint PRIMARY KEY, v bigint NOT NULL)")
        connection.cursor().execute("INSERT INTO r VALUES (1, 0)")
        connection.close()

    def start(self, initial):
        self.initial = initial
        self.next_value = initial
        for number, node in enumerate(self.nodes):
            thread = threading.Thread(target=self._run, args=(node, random.Random(f"{self.seed}/{number}")), daemon=True)
            self.threads.append(thread)
            thread.start()

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join(60)
            if thread.is_alive():
                raise AssertionError("a client still waits for its answer")

    def writes_since(self, instant, node=None):
        """How many writes that began after the instant were acknowledged."""
        with self.lock:
            return sum(begin > instant for host, begin in self.acknowledged if node is None or host == node.host)

    def _run(self, node, rng):
        connection = None
        while not self.ending.is_set():
            try:
                if connection is None:
                    connection = psycopg2.connect(node.url("register"), connect_timeout=3)
                    connection.autocommit = True
                    connection.cursor().execute("SET statement_timeout = '10s'")
                self._step(connection, node, rng)
            except psycopg2.Error as error:
                with self.lock:
                    self.errors[error.pgcode or "lost"] = self.errors.get(error.pgcode or "lost", 0) + 1
                if connection is not None and (connection.closed or error.pgcode is None):
                    connection.close()
                    connection = None
                self.ending.wait(0.05)
            else:
                self.ending.wait(0.005 + 0.01 * rng.random())
        if connection is not None:
            connection.close()

    def _step(self, connection, node, rng):
        cursor = connection.cursor()
        begin = time.monotonic()
        if rng.random() < 0.5:
            cursor.execute("SELECT v FROM r WHERE id = 1")
            value = cursor.fetchone()[0]
            with self.lock:
                self.history.append(Operation("read", value, begin, time.monotonic()))
            return
        with self.lock:
            self.next_value += 1
            value = self.next_value
        outcome = INFINITY
        try:
            cursor.execute("UPDATE r SET v = %s WHERE id = 1", (value,))
            outcome = time.monotonic()
        except psycopg2.Error as error:
            # Whatever carries an SQLSTATE says that nothing was applied, but for these (design §6.2).
            if error.pgcode is not None and error.pgcode not in ("40003", "08006", "08007", "57P01", "57P02"):
                outcome = None
            raise
        finally:
            if outcome is not None:
                with self.lock:
                    self.history.append(Operation("write", value, begin, outcome))
                    if outcome < INFINITY:
                        self.written += 1
                        self.acknowledged.append((node.host, begin))
