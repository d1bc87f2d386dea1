#!/usr/bin/env python3
"""The first example of docs/ingest.md, as it stands there but for its ports and its folder. Ends with "N passed, N failed"."""
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


def free_port(kind):
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def example(folder):
    """The configuration's name and text, and the commands."""
    text = (ROOT / "docs/ingest.md").read_text(encoding="utf-8")
    config, commands = re.search(r"```toml\n(.*?)```\n\n```\n(.*?)```", text, re.S).groups()
    ports = {old: free_port(socket.SOCK_DGRAM) for old in re.findall(r"udp://127\.0\.0\.1:(\d+)", config)}
    ports.update({old: free_port(socket.SOCK_STREAM) for old in re.findall(r"--sql-addr=127\.0\.0\.1:(\d+)", commands)})

    def here(text):
        for old, new in ports.items():
            text = re.sub(rf"\b{old}\b", new, text)
        return text.replace("/data/n1", f"{folder}/n1")

    name = re.match(r"# (\S+)\n", config).group(1)
    return name, here(config), [line.removeprefix("$ ") for line in here(commands).splitlines()]


def wait_until(what, reached):
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end, f"{what}: not in {PATIENCE} s"
        time.sleep(0.05)


def run(folder):
    name, config, (start, send, look) = example(folder)
    pathlib.Path(folder, name).write_text(config, encoding="utf-8")
    environment = dict(os.environ, PATH=f"{os.path.dirname(BINARY)}:{os.environ['PATH']}")

    def shell(command):
        return subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True,
                              timeout=PATIENCE, check=False)

    checked = shell(f"outlast start-single-node --check --config={name}")
    assert checked.returncode == 0, f"--check: {checked.stdout}{checked.stderr}"
    with open(f"{folder}/log", "w", encoding="utf-8") as log, subprocess.Popen(
            f"exec {start} --http-addr=127.0.0.1:0 --listen-addr=127.0.0.1:0", shell=True, cwd=folder, env=environment,
            stdout=log, stderr=log) as node:
        try:
            wait_until("the node", lambda: os.path.exists(f"{folder}/n1/NODE.json"))
            sent = shell(send)
            assert sent.returncode == 0, f"{send}: {sent.stderr}"
            said = re.search(r'"(.*)"', send).group(1)
            wait_until("the record", lambda: said in shell(look).stdout)
            status = shell(f"outlast ingest status --store={folder}/n1")
            assert status.returncode == 0 and "syslog" in status.stdout, f"ingest status: {status.stdout}{status.stderr}"
        finally:
            node.send_signal(signal.SIGTERM)
            code = node.wait(PATIENCE)
        assert code == 0, f"it ended with code {code}:\n{pathlib.Path(folder, 'log').read_text(encoding='utf-8')[-3000:]}"


def main():
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(folder)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        print(f"FAILED: {error}")
        print("0 passed, 1 failed")
        return 1
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
