"""Reloads of nginx behind `outlast run` and of HAProxy's master-worker mode, under the same clients."""
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time

from local_cluster import BINARY, free_port, wait_until
from restart_clients import HttpClients

LONG_EACH = 3  # long requests that begin before each reload
GRACE_SECONDS = 2
BETWEEN_SECONDS = 0.5
NGINX = """daemon off;
worker_processes 2;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_header_timeout 300s;
  server {{ listen 127.0.0.1:{port}; location / {{ return 200 "ok"; }} }}
}}
"""
HAPROXY = """global
  maxconn 2000
  nbthread 2
  stats socket {dir}/haproxy.sock mode 600 level admin expose-fd listeners
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  timeout http-request 300s
frontend web
  bind 127.0.0.1:{port}
  http-request return status 200 content-type text/plain string ok
"""


def processes_of(root):
    """All processes below `root`, as pids."""
    found, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        try:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
                waiting += (below := [int(word) for word in file.read().split()])
        except OSError:
            continue
        found += below
    return found


class LongRequests:
    """Connections that have sent half a request and keep the process that has them."""

    def __init__(self, port):
        self.port, self.sockets = port, []

    def begin(self):
        for _ in range(LONG_EACH):
            one = socket.create_connection(("127.0.0.1", self.port))
            one.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n")
            self.sockets.append(one)

    def close(self):
        """How many were still open."""
        alive = 0
        for one in self.sockets:
            one.setblocking(False)
            try:
                alive += one.recv(1) != b""
            except BlockingIOError:
                alive += 1
            except OSError:
                pass
            one.close()
        return alive


class OutlastRun:
    name = "nginx behind `outlast run`"

    def __init__(self, folder, port):
        path = f"{folder}/nginx.conf"
        with open(path, "w", encoding="utf-8") as file:
            file.write(NGINX.format(dir=folder, port=port))
        self.log = open(f"{folder}/log", "w", encoding="utf-8")
        self.program = subprocess.Popen(
            [BINARY, "run", "--format=json", f"--listen=tcp://127.0.0.1:{port}", "--env=NGINX={fds;}",
             "--stop-signal=SIGQUIT", f"--grace={GRACE_SECONDS}s", f"--check=nginx -t -q -c {path}",
             f"--ready=http://127.0.0.1:{port}/", "--", "nginx", "-c", path], stdout=subprocess.PIPE, stderr=self.log,
            text=True)
        self.receipts = []
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self):
        for line in self.program.stdout:
            if line.startswith("{") and (event := json.loads(line))["event"] == "reload":
                self.receipts.append(event)

    def reload(self):
        before = len(self.receipts)
        self.program.send_signal(signal.SIGUSR2)
        wait_until("the reload", 60, lambda: len(self.receipts) > before)
        return self.receipts[-1]["outcome"] == "completed"


class HaProxy:
    name = "HAProxy, master-worker"

    def __init__(self, folder, port):
        path = f"{folder}/haproxy.cfg"
        with open(path, "w", encoding="utf-8") as file:
            file.write(HAPROXY.format(dir=folder, port=port))
        self.log = open(f"{folder}/log", "w", encoding="utf-8")
        self.program = subprocess.Popen(["haproxy", "-W", "-f", path], stdout=self.log, stderr=self.log)

    def reload(self):
        before = set(processes_of(self.program.pid))
        self.program.send_signal(signal.SIGUSR2)
        wait_until("the reload", 60, lambda: set(processes_of(self.program.pid)) - before)
        return True


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def measure(kind, reloads, connections):
    with tempfile.TemporaryDirectory(prefix="outlast-bench-run-") as folder:
        os.chmod(folder, 0o755)
        port = free_port()
        server = kind(folder, port)
        wait_until(kind.name, 20, lambda: answers(port))
        time.sleep(BETWEEN_SECONDS)  # its first workers
        before = len(processes_of(server.program.pid))
        long, clients = LongRequests(port), HttpClients(port)
        seconds, done = [], 0
        try:
            for _ in range(reloads):
                long.begin()
                began, at_start = time.monotonic(), clients.count()
                done += server.reload()
                seconds.append(time.monotonic() - began)
                time.sleep(BETWEEN_SECONDS)  # HAProxy's master loses a signal that comes while it loads
                wait_until("the clients", 120, lambda: clients.count() >= at_start + connections // reloads)
            time.sleep(GRACE_SECONDS)  # what may end by itself has ended
            left = len(processes_of(server.program.pid)) - before
        finally:
            clients.stop()
            alive = long.close()
            server.program.send_signal(signal.SIGTERM)
            server.program.wait(30)
            server.log.close()
    return {"name": kind.name, "reloads": reloads, "completed": done, "connections": clients.count(),
            "failed": len(clients.failures), "errors": sorted(set(clients.failures))[:5],
            "slowest_ms": 1000 * clients.worst, "median_reload_s": sorted(seconds)[len(seconds) // 2],
            "left_over": left, "long_kept": alive, "long": LONG_EACH * reloads}


def peers(reloads, connections):
    return [measure(kind, reloads, connections) for kind in (OutlastRun, HaProxy)]
