#!/usr/bin/env python3
"""Reloads the servers of examples/run 20 times under clients that connect for every request: none may fail, and no process
may be left. Ends with "N passed, N failed"."""
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BINARY = os.environ.get("OUTLAST_BINARY", os.path.join(ROOT, "build/release/outlast"))
EXAMPLES = os.path.join(ROOT, "examples/run")
RELOADS, THREADS, PATIENCE = 20, 4, 60
REQUEST = b"GET / HTTP/1.0\r\nHost: example\r\n\r\n"


class Clients:
    """One connection for each request, as many as there is time for."""

    def __init__(self, port):
        self.port, self.stopping, self.counts, self.failures, self.worst = port, False, [0] * THREADS, [], 0.0
        self.threads = [threading.Thread(target=self.work, args=(i,)) for i in range(THREADS)]
        for thread in self.threads:
            thread.start()

    def work(self, i):
        while not self.stopping:
            began = time.monotonic()
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as s:
                    s.sendall(REQUEST)
                    answer = b""
                    while part := s.recv(4096):
                        answer += part
                if b" 200 " not in answer.split(b"\r\n")[0]:
                    self.failures.append(answer[:80])
            except OSError as error:
                self.failures.append(repr(error))
            self.worst = max(self.worst, time.monotonic() - began)
            self.counts[i] += 1

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()


def listening_socket():
    s = socket.create_server(("127.0.0.1", 0), backlog=4096)
    return s, s.getsockname()[1]


def events(program):
    for line in program.stdout:
        if line.startswith("{"):
            yield json.loads(line)


def start(options, command, sock):
    """The socket goes in as from systemd, so that the port is known before the server's configuration is written."""
    takes = 'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=http; exec "$@"'
    fd = sock.fileno()
    argv = ["bash", "-c", f"exec 3<&{fd}; {takes}", "bash", BINARY, "run", "--format=json", *options, "--", *command]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, pass_fds=[fd])


def reload_under_load(label, options, command, sock, port, least):
    program = start(options, command, sock)
    stream = events(program)
    started, problems = [], []

    def follow(name):
        for event in stream:
            if event["event"] == "started":
                started.append(event["pid"])
            if event["event"] == name:
                return event
        raise RuntimeError(f"the program ended before '{name}'")

    queued, ready, clients = [], [], None
    try:
        follow("ready")
        clients = Clients(port)
        for _ in range(RELOADS):
            before = sum(clients.counts)
            program.send_signal(signal.SIGUSR2)
            receipt = follow("reload")
            if receipt["outcome"] != "completed":
                problems.append(f"a reload was {receipt['outcome']}: {receipt['why']} {receipt['stderr']}")
            queued.append(receipt["queued"] or 0)
            ready.append(receipt["duration_ms"]["ready"])
            while sum(clients.counts) < before + least // RELOADS:
                time.sleep(0.01)
    finally:
        if clients is not None:
            clients.stop()
        program.send_signal(signal.SIGTERM)
        code = program.wait(PATIENCE)
    if clients.failures:
        problems.append(f"{len(clients.failures)} connections failed, as {clients.failures[0]}")
    if code != 0:
        problems.append(f"it ended with code {code}")
    left = [pid for pid in started if group_exists(pid)]
    if left:
        problems.append(f"left processes {left}")
    print(f"{label}: {RELOADS} reloads, {sum(clients.counts)} connections, {len(clients.failures)} failed, slowest "
          f"{clients.worst * 1000:.0f} ms, ready in {sorted(ready)[len(ready) // 2]:.0f} ms (median), at most {max(queued)} "
          f"queued, {len(left)} processes left")
    return problems


def group_exists(pid):
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True


def nginx(folder):
    sock, port = listening_socket()
    conf = os.path.join(folder, "nginx.conf")
    with open(os.path.join(EXAMPLES, "nginx.conf"), encoding="utf-8") as original, open(conf, "w", encoding="utf-8") as out:
        out.write(original.read().replace(":8080", f":{port}").replace("/run/nginx-example.pid", f"{folder}/nginx.pid"))
    options = ["--env=NGINX={fds;}", "--stop-signal=SIGQUIT", f"--check=nginx -t -q -c {conf}",
               f"--ready=http://127.0.0.1:{port}/"]
    return reload_under_load("nginx", options, ["nginx", "-c", conf], sock, port, 20_000)


def python(_):
    sock, port = listening_socket()
    command = ["python3", os.path.join(EXAMPLES, "server.py")]
    return reload_under_load("Python", ["--ready=notify"], command, sock, port, 2000)


def node(_):
    sock, port = listening_socket()
    command = ["node", os.path.join(EXAMPLES, "server.js")]
    return reload_under_load("Node.js", ["--ready=exec"], command, sock, port, 2000)


def main():
    passed = failed = 0
    for needs, example in (("nginx", nginx), ("python3", python), ("node", node)):
        if shutil.which(needs) is None:
            print(f"skipped: {needs} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            problems = example(folder)
        for problem in problems:
            print(f"{needs}: {problem}")
        passed, failed = passed + (not problems), failed + bool(problems)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
