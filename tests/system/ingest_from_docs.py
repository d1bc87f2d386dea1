#!/usr/bin/env python3
"""The examples of docs/ingest.md, as they stand there but for ports and folders. Ends with "N passed, N failed"."""
import concurrent.futures
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("OUTLAST_BINARY", str(ROOT / "build/release/outlast"))
PATIENCE = 60
FOLDERS = ("/data", "/var/lib", "/var/log", "/run")


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def wait_until(what, reached):
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end, f"{what}: not in {PATIENCE} s"
        time.sleep(0.05)


class Page:
    """Its blocks with ports and folders of this run."""

    def __init__(self, folder):
        self.folder = folder
        text = (ROOT / "docs/ingest.md").read_text(encoding="utf-8")
        ports = {port: free_port(socket.SOCK_DGRAM) for port in re.findall(r"udp://127\.0\.0\.1:(\d+)", text)}
        self.http = free_port(socket.SOCK_STREAM)
        ports.update({"26257": free_port(socket.SOCK_STREAM), "8081": free_port(socket.SOCK_STREAM), "9880": self.http})
        for old, new in ports.items():
            text = re.sub(rf"\b{old}\b", new, text)
        for old in FOLDERS:
            text = re.sub(rf"{old}/(?=\w)", f"{folder}/", text)
        self.blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M)

    def config(self, name):
        text = next(block for block in self.blocks if block.startswith(f"# {name}\n"))
        pathlib.Path(self.folder, name).write_text(text, encoding="utf-8")

    def commands(self, word):
        block = next(block for block in self.blocks if block.startswith("$ ") and word in block)
        return [line.split("     #")[0].rstrip() for line in block.replace("\\\n", "").removeprefix("$ ").split("\n$ ")]

    def shell(self, command):
        environment = dict(os.environ, PATH=f"{os.path.dirname(BINARY)}:{os.environ['PATH']}")
        return subprocess.run(command, shell=True, cwd=self.folder, env=environment, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)

    def must(self, command):
        done = self.shell(command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def running(self, command, store):
        environment = dict(os.environ, PATH=f"{os.path.dirname(BINARY)}:{os.environ['PATH']}")
        log = pathlib.Path(self.folder, f"{store}.log")
        facts = pathlib.Path(self.folder, store, "NODE.json")
        facts.unlink(missing_ok=True)
        with log.open("w", encoding="utf-8") as out, subprocess.Popen(
                f"exec {command}", shell=True, cwd=self.folder, env=environment, stdout=out, stderr=out) as node:
            try:
                wait_until(command, lambda: facts.exists() or node.poll() is not None)
                yield node
            finally:
                node.send_signal(signal.SIGTERM)
                code = node.wait(PATIENCE)
            assert code == 0, f"{command} ended with code {code}:\n{log.read_text(encoding='utf-8')[-3000:]}"

    def lines_with(self, file, text):
        path = pathlib.Path(self.folder, file)
        return path.read_text(encoding="utf-8").count(text) if path.exists() else 0


def said(command):
    return re.search(r'"(.*)"', command).group(1)


def a_record_becomes_a_row(page):
    start, send, look = page.commands("psql")
    page.config("node.toml")
    page.must("outlast start-single-node --check --config=node.toml")
    with page.running(f"{start} --http-addr=127.0.0.1:0 --listen-addr=127.0.0.1:0", "n1"):
        page.must(send)
        wait_until("the record", lambda: said(send) in page.shell(look).stdout)
        assert "syslog" in page.must(f"outlast ingest status --store={page.folder}/n1")


def other_end(page):
    """What the collector forwards to, and what the request with an id goes to."""
    config = (f'roles = "none"\nstore = "{page.folder}/end"\nhttp-addr = "127.0.0.1:0"\n'
              f'[[input]]\ntype = "http"\nlisten = "http://127.0.0.1:{page.http}"\nparser = "json"\nack = "stored"\n'
              f'[[sink]]\ntype = "file"\nmatch = "**"\npath = "{page.folder}/end.txt"\n')
    pathlib.Path(page.folder, "end.toml").write_text(config, encoding="utf-8")
    return page.running("outlast start --config=end.toml", "end")


def a_collector_writes_and_forwards(page):
    check, start, send, status, restart, stop = page.commands("outlast stop")
    page.config("collector.toml")
    page.must(check)
    with other_end(page), page.running(start, "collector") as node, concurrent.futures.ThreadPoolExecutor() as beside:
        page.must(send)
        page.must(status)
        page.must(restart)
        stopped = beside.submit(page.must, stop)  # it waits for its process, which this one has to wait for, too
        node.wait(PATIENCE)
        stopped.result()
        wait_until("the forwarded record", lambda: page.lines_with("end.txt", said(send)) == 1)
        assert page.lines_with("collected.log", said(send)) == 1, "the file has the record once"


def a_repeated_request_is_taken_once(page):
    (post,) = page.commands("curl")
    pathlib.Path(page.folder, "records.ndjson").write_text('{"message":"sent twice"}\n', encoding="utf-8")
    with other_end(page):
        page.must(f"{post} --fail")
        page.must(f"{post} --fail")
        assert page.lines_with("end.txt", "sent twice") == 1, "the second request is the first one"


def source_only_ends_with_a_signal(page):
    start, status, end = page.commands("kill -WINCH")
    send = page.commands("outlast stop")[2]
    page.config("collector.toml")
    with other_end(page), page.running(start, "collector"):
        page.must(send)
        assert "source-only" in page.must(status)
        before = page.lines_with("collected.log", said(send))
        page.must(end)
        wait_until("the record", lambda: page.lines_with("collected.log", said(send)) == before + 1)


def main():
    failed = 0
    examples = (a_record_becomes_a_row, a_collector_writes_and_forwards, a_repeated_request_is_taken_once,
                source_only_ends_with_a_signal)
    for example in examples:
        try:
            with tempfile.TemporaryDirectory() as folder:
                example(Page(folder))
        except (AssertionError, OSError, ValueError, StopIteration, subprocess.SubprocessError) as error:
            failed += 1
            print(f"FAILED: {example.__name__}: {error!r}")
    print(f"{len(examples) - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
