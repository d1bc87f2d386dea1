"""Clients of a restart: naive SQL clients, idle SQL sessions, and HTTP clients with a connection for each request."""
import multiprocessing
import resource
import socket
import struct
import threading
import time

import psycopg2

THINK_SECONDS = 0.004
PATIENCE = 60


class SqlClients:
    """Processes with a connection each, that insert, read back and, one time in four, use a transaction. `again`: they
    connect anew after a lost connection (a server that is expected to lose them), or stop there."""

    def __init__(self, addresses, clients, again=False):
        context = multiprocessing.get_context("fork")
        self.over, self.begun = context.Event(), context.Barrier(clients + 1)
        self.out = context.Queue()
        self.processes = [context.Process(target=self._work, args=(i, addresses[i % len(addresses)], again), daemon=True)
                          for i in range(clients)]
        for process in self.processes:
            process.start()
        self.begun.wait(30)

    def stop(self):
        """All of them as one: counts are sums, `longest_ms` of a session without an answer is the worst."""
        self.over.set()
        parts = [self.out.get(timeout=PATIENCE) for _ in self.processes]
        for process in self.processes:
            process.join()
        return {**{name: sum(part[name] for part in parts) for name in ("statements", "failed", "lost", "refused", "rows")},
                "longest_ms": max(part["longest_ms"] for part in parts),
                "over_100_ms": sum(part["over_100_ms"] for part in parts),
                "errors": sorted({error for part in parts for error in part["errors"]})[:5]}

    def _connect(self, address):
        connection = psycopg2.connect(host=address[0], port=address[1], user="root", dbname=address[2],
                                      sslmode="disable", connect_timeout=PATIENCE)
        connection.autocommit = True
        return connection.cursor()

    def _work(self, number, address, again):
        got = {"statements": 0, "failed": 0, "lost": 0, "refused": 0, "rows": 0, "longest_ms": 0.0, "over_100_ms": 0, "errors": []}
        cursor = self._connect(address)
        self.begun.wait()
        key, answered = number * 10_000_000, None
        while not self.over.is_set():
            key += 1
            plain = [f"INSERT INTO t VALUES ({key})", f"SELECT id FROM t WHERE id = {key}"]
            for statement in ["BEGIN", plain[0], "COMMIT", plain[1]] if key % 4 == 0 else plain:
                began = time.monotonic() if answered is None else min(answered, time.monotonic())
                try:
                    if cursor is None:
                        cursor = self._connect(address)
                    cursor.execute(statement)
                except psycopg2.Error as error:
                    got["refused" if cursor is None else "failed"] += 1
                    got["errors"].append(str(error).strip().split("\n", maxsplit=1)[0])
                    if cursor is not None and cursor.connection.closed:
                        got["lost"] += 1
                        cursor = None
                    answered = began
                    if not again and cursor is None:
                        self.over.wait()
                    time.sleep(THINK_SECONDS)
                    break
                waited = 1000 * (time.monotonic() - began)
                got["longest_ms"] = max(got["longest_ms"], waited)
                got["over_100_ms"] += waited > 100
                got["statements"] += 1
                answered = None
                got["rows"] += statement == plain[1]
            time.sleep(THINK_SECONDS)
        self.out.put(got)


def packet(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body


class IdleSessions:
    """Plain sockets that have started a session each and say nothing. One process has room for about 19,000."""

    def __init__(self, address, count):
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
        words = b"\0".join([b"user", b"root", b"database", address[2].encode(), b"application_name", b"idle", b"", b""])
        hello = packet(b"", struct.pack("!i", 196608) + words)
        self.sockets = []
        for _ in range(count):
            one = socket.create_connection(address[:2], timeout=PATIENCE)
            one.sendall(hello)
            self.sockets.append(one)
        for one in self.sockets:
            self._until_ready(one)

    @staticmethod
    def _until_ready(one):
        """True when the answer ends with ReadyForQuery."""
        answer = b""
        while answer[-6:-1] != b"Z\0\0\0\5":
            part = one.recv(4096)
            if not part:
                return False
            answer += part
        return b"E\0" not in answer[:2]

    def ask_all(self):
        """How many answer a question."""
        alive = 0
        for one in self.sockets:
            try:
                one.sendall(packet(b"Q", b"SELECT 1\0"))
                alive += self._until_ready(one)
            except OSError:
                pass
        return alive

    def close(self):
        for one in self.sockets:
            one.close()


class HttpClients:
    """A connection for each request, as many as there is time for."""

    REQUEST = b"GET / HTTP/1.0\r\nHost: bench\r\n\r\n"

    def __init__(self, port, threads=4):
        self.port, self.stopping, self.counts = port, False, [0] * threads
        self.failures, self.worst = [], 0.0
        self.threads = [threading.Thread(target=self._work, args=(i,)) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def _work(self, number):
        while not self.stopping:
            began = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as one:
                    one.sendall(self.REQUEST)
                    answer = b""
                    while part := one.recv(4096):
                        answer += part
                if b" 200 " not in answer.split(b"\r\n")[0]:
                    self.failures.append(repr(answer[:80]))
            except OSError as error:
                self.failures.append(repr(error))
            self.worst = max(self.worst, time.monotonic() - began)
            self.counts[number] += 1

    def count(self):
        return sum(self.counts)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()
