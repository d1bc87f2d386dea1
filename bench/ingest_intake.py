#!/usr/bin/env python3
"""The way in, beside rsyslog and syslog-ng: the same sender, records of 200 bytes over 4 sockets, into a file.

usage: ingest_intake.py [--type=udp|tcp] [--rates=5000,20000,...] [--seconds=5] [--rounds=1]
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

OPTIONS = dict(word.lstrip("-").split("=", 1) for word in sys.argv[1:])
TYPE = OPTIONS.get("type", "udp")
RATES = [int(r) for r in OPTIONS.get("rates", "5000,20000,50000,100000,150000,200000,300000").split(",")]
SECONDS = float(OPTIONS.get("seconds", "5"))
ROUNDS = int(OPTIONS.get("rounds", "1"))
BYTES = 200
BENCH = os.environ.get("INGEST_BENCH", "build/release/ingest_intake_bench")

RSYSLOG = """
global(workDirectory="{dir}")
module(load="im{type}" {module})
template(name="raw" type="string" string="%rawmsg%\\n")
input(type="im{type}" address="127.0.0.1" port="{port}" {input} ruleset="r")
ruleset(name="r") {{ action(type="omfile" file="{file}" template="raw") }}
"""
SYSLOG_NG = """@version: 3.38
source s {{ network(ip("127.0.0.1") port({port}) transport("{type}") flags(no-parse) {source}); }};
destination d {{ file("{file}" template("$MSG\\n")); }};
log {{ source(s); destination(d); }};
"""


def command(who, port, file, directory):
    if who == "outlast":
        return [BENCH, "receive", TYPE, str(port), file]
    path = f"{directory}/{who}.conf"
    if who == "rsyslog":
        udp = TYPE == "udp"
        text = RSYSLOG.format(dir=directory, type=TYPE if udp else "tcp", port=port, file=file,
                              module='batchSize="128"' if udp else "", input='rcvbufSize="4m"' if udp else "")
        words = [shutil.which("rsyslogd"), "-n", "-f", path, "-i", f"{directory}/rsyslog.pid"]
    else:
        text = SYSLOG_NG.format(port=port, type=TYPE, file=file, source="so-rcvbuf(4194304)" if TYPE == "udp" else "")
        words = [shutil.which("syslog-ng"), "-F", "-f", path, "--persist-file", f"{directory}/persist",
                 "-p", f"{directory}/ng.pid", "-c", f"{directory}/ng.ctl"]
    with open(path, "w") as out:
        out.write(text)
    return words


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port):
    table = open(f"/proc/net/{TYPE}").read()
    return f":{port:04X} " in table


def lines_of(file):
    lines = 0
    with open(file, "rb") as data:
        while piece := data.read(1 << 20):
            lines += piece.count(b"\n")
    return lines


def settled_size(file):
    size = -1
    while size != (now := os.path.getsize(file) if os.path.exists(file) else 0):
        size = now
        time.sleep(0.5)
    return size


def run(who, rate):
    with tempfile.TemporaryDirectory() as directory:
        port, file = free_port(), f"{directory}/out"
        server = subprocess.Popen(command(who, port, file, directory), stdout=subprocess.PIPE, text=True)
        while not listens(port):
            if server.poll() is not None:
                sys.exit(f"{who} did not start")
            time.sleep(0.02)
        before = cpu_seconds(server.pid)
        sent = json.loads(subprocess.run([BENCH, "send", TYPE, str(port), str(rate), str(SECONDS), str(BYTES)],
                                         stdout=subprocess.PIPE, text=True, check=True).stdout)
        settled_size(file)
        cpu = cpu_seconds(server.pid) - before
        server.send_signal(signal.SIGTERM)
        out, _ = server.communicate()
        got = lines_of(file)
        return {"who": who, "rate": rate, "sent": sent["sent"], "reached": round(sent["sent"] / sent["seconds"]),
                "lost": sent["sent"] - got, "us_per_record": round(cpu * 1e6 / max(got, 1), 2),
                "cpu_percent": round(cpu / sent["seconds"] * 100, 1), "own": json.loads(out) if who == "outlast" else None}


def main():
    names = ["outlast"] + [w for w, p in (("rsyslog", "rsyslogd"), ("syslog-ng", "syslog-ng")) if shutil.which(p)]
    print("| program | rate | reached | lost | CPU % | us per record |\n|---|---|---|---|---|---|")
    for rate in RATES:
        for who in names:
            rows = sorted((run(who, rate) for _ in range(ROUNDS)), key=lambda r: r["us_per_record"])
            row = rows[len(rows) // 2]
            lost = max(r["lost"] for r in rows)
            print(f"| {who} | {rate} | {row['reached']} | {lost} | {row['cpu_percent']} | {row['us_per_record']} |", flush=True)
            if row["own"]:
                print(json.dumps(row["own"]), file=sys.stderr, flush=True)


main()
