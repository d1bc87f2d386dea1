#!/usr/bin/env python3
"""Records that come in: what they cost, and what restarts and crashes lose of them, beside rsyslog and syslog-ng. See
bench/README.md."""
import argparse
import json
import os
import sys
import tempfile
import threading
import time

from ingest_load import Load, count
from ingest_programs import Outlast, programs
from ingest_table import measure as measure_table
from local_cluster import machine, wait_until

SENDERS = 4
SHARE = 0.6  # of the highest rate without kernel drops
LEAST_RATE, FIRST_RATE, LAST_RATE, STEPS = 1_000, 50_000, 800_000, 3
BATCH = 1024  # what Outlast reads from a UDP socket at once, at most
WANTED = {"gap_ms": 50, "memory": 1.5, "table": 50_000}
# Each batch is in a file before it counts as taken; an acknowledged one on the disk.
FILE_BUFFER = 'type = "file"\npath = "{dir}/buffer"\nflush_interval = "200ms"\n'
SYNCED_BUFFER = FILE_BUFFER + 'fsync = "always"\n'


def udp_counters():
    """Of the whole machine: datagrams dropped because a receive buffer was full, and because nobody listened."""
    with open("/proc/net/snmp", encoding="utf-8") as file:
        names, values = [line.split()[1:] for line in file if line.startswith("Udp:")]
    table = dict(zip(names, map(int, values)))
    return table["RcvbufErrors"], table["NoPorts"]


def dropped(port):
    """By the sockets that are bound to the port."""
    with open("/proc/net/udp", encoding="utf-8") as table:
        return sum(int(line.split()[-1]) for line in table if line.split()[1].endswith(f":{port:04X}"))


def settled(path):
    """Once the file has not grown for longer than anybody keeps records back."""
    size, since = -1, time.monotonic()
    while time.monotonic() - since < 1.3:
        now = os.path.getsize(path) if os.path.exists(path) else 0
        if now != size:
            size, since = now, time.monotonic()
        time.sleep(0.05)


class Memory:
    """The median of what a program has in the second half of the time before mark(), and the most after it."""

    def __init__(self, program):
        self.program, self.steady, self.most = program, [], 0.0
        self.marked, self.over = False, threading.Event()
        self.thread = threading.Thread(target=self._look)

    def _look(self):
        while not self.over.wait(0.05):
            now = self.program.memory_mib()
            if self.marked:
                self.most = max(self.most, now)
            else:
                self.steady.append(now)

    def mark(self):
        self.marked = True

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def steady_mib(self):
        later = sorted(self.steady[len(self.steady) // 2:])
        return later[len(later) // 2]

    def figures(self):
        steady = self.steady_mib()
        return {"steady_mib": steady, "peak_mib": self.most, "memory": self.most / steady}


class Run:
    """A program, running in a folder that is gone afterwards."""

    def __init__(self, kind, **options):
        self.folder = tempfile.TemporaryDirectory(prefix="outlast-bench-ingest-")
        self.program = kind(self.folder.name, **options)

    def __enter__(self):
        self.program.__enter__()
        return self.program

    def __exit__(self, *_):
        self.program.__exit__()
        self.folder.cleanup()


def targets(program, kinds):
    return [f"{kind}:{program.ports[kind]}" for kind in kinds]


def probe(rate, seconds, program):
    """The rate that was sent, and whether the kernel dropped nothing of it in one of two tries."""
    for _ in range(2):
        before = dropped(program.ports["udp"])
        with Load(targets(program, ["udp"] * SENDERS), rate, seconds) as load:
            sent = load.result()
        time.sleep(0.5)  # what waits is read
        if dropped(program.ports["udp"]) == before:
            return sent["sent"] / sent["seconds"], True
    return 0, False


def highest_udp(program, seconds):
    best, whole = probe(FIRST_RATE, seconds, program)
    rate, up = FIRST_RATE, whole
    while LEAST_RATE < rate < LAST_RATE and whole == up:
        rate = rate * 2 if up else rate // 2
        sent, whole = probe(rate, seconds, program)
        best = max(best, sent)
        if up and whole and sent < 0.9 * rate:  # the senders have no more
            return best
    low, high = (rate // 2, rate) if up else (rate, rate * 2)
    for _ in range(STEPS):
        middle = (low + high) // 2
        sent, whole = probe(middle, seconds, program)
        low, high = (middle, high) if whole else (low, middle)
        best = max(best, sent)
    return best


def highest_tcp(program, seconds):
    """Senders wait while nobody reads: as much as is taken and in the file."""
    began = time.monotonic()
    with Load(targets(program, ["tcp"] * SENDERS), 0, seconds) as load:
        sent = load.result()
    wait_until("the records", 120, lambda: os.path.exists(program.file) and
               os.path.getsize(program.file) >= 200 * sent["sent"], every=0.02)
    return sent["sent"] / (time.monotonic() - began)


def rates(kinds, seconds):
    rows = []
    for kind in kinds:
        row = {"name": kind.name, "version": kind.version()}
        with Run(kind) as program:
            row["udp"] = highest_udp(program, seconds)
        with Run(kind) as program:
            row["tcp"] = highest_tcp(program, seconds)
        rows.append(row)
    return rows


def counted(program, sent):
    """Ends the program, and looks what there is of the records."""
    settled(program.file)
    program.stop()
    return count(program.file, sent)


def steady(kind, how, rate, seconds):
    with Run(kind) as program, Memory(program) as memory:
        cpu = program.cpu_seconds()
        with Load(targets(program, [how] * SENDERS), rate, seconds) as load:
            sent = load.result()
        settled(program.file)
        cpu = program.cpu_seconds() - cpu
        got = counted(program, sent)
    return {"name": kind.name, "input": how, "rate": sent["sent"] / sent["seconds"], "sent": sent["sent"],
            "cpu_us": 1e6 * cpu / sent["sent"], "sender_cpu_us": 1e6 * sent["cpu_s"] / sent["sent"],
            "memory_mib": memory.steady_mib(), **got}


def restarts(kind, how, rate, times, pause):
    """`how`: the inputs that senders use, one each."""
    with Run(kind, times=True) as program, Memory(program) as memory:
        before, receipts, seconds = udp_counters(), [], []
        with Load(targets(program, how), rate, 600) as load:
            time.sleep(3)
            memory.mark()
            for _ in range(times):
                began = time.monotonic()
                receipts.append(program.restart())
                seconds.append(time.monotonic() - began)
                time.sleep(pause)
            sent = load.end()
        got = counted(program, sent)
        drops = [after - was for after, was in zip(udp_counters(), before)]
    if kind is Outlast:
        got["gap_ms"] = max(receipt["longest_gap_ms"] for receipt in receipts)
    row = {"name": kind.name, "inputs": how, "restarts": times, "rate": sent["sent"] / sent["seconds"], "sent": sent["sent"],
           "resets": sent["resets"], "drops": drops[0], "nobody": drops[1], "seconds": sorted(seconds)[times // 2],
           "receipts": receipts if kind is Outlast else [], **memory.figures(), **got}
    row["pass"] = (row["lost"] == row["duplicated"] == row["out_of_order"] == row["resets"] == row["drops"] == 0 and
                   row["gap_ms"] <= WANTED["gap_ms"] and row["memory"] <= WANTED["memory"])
    return row


def kills(kind, how, rate, times, pause):
    buffer = SYNCED_BUFFER if how == "http" else FILE_BUFFER
    with Run(kind, buffer=buffer) as program:
        with Load(targets(program, [how] * SENDERS), rate, 600) as load:
            time.sleep(1)
            for _ in range(times):
                program.kill()
                time.sleep(pause)
            sent = load.end()
        got = counted(program, sent)
    row = {"name": kind.name, "input": how, "kills": times, "rate": sent["sent"] / sent["seconds"], "sent": sent["sent"],
           "again": sent["again"], **got}
    row["pass"] = row["lost"] <= (0 if how == "http" else BATCH * times)
    return row


def beside(rows, key, names=("Outlast", "rsyslog")):
    """The ratio of Outlast's figure to rsyslog's; None without both."""
    found = [next((row[key] for row in rows if row["name"] == name), None) for name in names]
    return found[0] / found[1] if all(found) else None


def show(results):
    for row in results.get("rates", []):
        print(f"{row['name']} {row['version']}: {row['udp']:,.0f} datagrams a second without a drop, {row['tcp']:,.0f} records "
              "over TCP into the file")
    for row in results.get("steady", []):
        print(f"{row['name']}, {row['input']} at {row['rate']:,.0f}/s: {row['cpu_us']:.2f} µs of CPU a record (sender "
              f"{row['sender_cpu_us']:.2f}), {row['memory_mib']:.0f} MiB, {row['lost']} of {row['sent']:,} lost")
    for row in results.get("restarts", []):
        print(f"{row['name']}, {row['restarts']} restarts, {'/'.join(sorted(set(row['inputs'])))} at {row['rate']:,.0f}/s: "
              f"{row['lost']} of {row['sent']:,} lost, {row['duplicated']} duplicated, {row['out_of_order']} out of order, "
              f"{row['drops']} dropped ({row['nobody']} with nobody there), {row['resets']} resets, longest gap "
              f"{row['gap_ms']:.1f} ms, memory × {row['memory']:.2f} of {row['steady_mib']:.0f} MiB, "
              f"{1000 * row['seconds']:.0f} ms each")
    for row in results.get("kills", []):
        print(f"{row['name']}, {row['kills']} × kill -9, {row['input']} at {row['rate']:,.0f}/s: {row['lost']} of "
              f"{row['sent']:,} lost, {row['duplicated']} duplicated")
    for row in results.get("table", []):
        print(f"table with three copies, {row['kind']}: {row['per_second']:,.0f} records/s, {row['cpu_us']:.1f} µs of CPU each "
              f"(sender {row['sender_cpu_us']:.2f}), {row['lost']} of {row['sent']:,} lost, {row['duplicated']} duplicated")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short, with a few restarts")
    parser.add_argument("--only", default="rates,steady,restarts,kills,table",
                        help="parts; all but table need the rates and measure them first")
    parser.add_argument("--json")
    options = parser.parse_args()
    parts, quick = options.only.split(","), options.quick
    brief, long, times, pause = (0.7, 2, 4, 0.3) if quick else (1.5, 8, 20, 0.4)
    results = {"machine": machine(), "seconds": long}
    if parts != ["table"]:
        kinds = programs()
        results["rates"] = rates(kinds, brief)
        udp, tcp = (max(LEAST_RATE, int(SHARE * min(row[how] for row in results["rates"]))) for how in ("udp", "tcp"))
        results["wanted"] = {**WANTED, "rate_udp": udp, "rate_tcp": tcp}
        if "steady" in parts:
            results["steady"] = [steady(kind, how, rate, long) for how, rate in (("udp", udp), ("tcp", tcp)) for kind in kinds]
        if "restarts" in parts:
            results["restarts"] = [restarts(kind, inputs, rate, times, pause)
                                   for inputs, rate in ((["udp"] * SENDERS, udp), (["tcp", "tcp", "octets", "octets"], tcp))
                                   for kind in kinds]
        if "kills" in parts:
            results["kills"] = [kills(kind, "udp", udp, 5, 2 * pause) for kind in kinds]
            results["kills"].append(kills(Outlast, "http", 0, 5, 2 * pause))
    if "table" in parts:
        most = measure_table("tcp", 0, long)
        results["table"] = [{**most, "wanted": WANTED["table"], "pass": most["per_second"] >= WANTED["table"]}]
        results["table"].append(measure_table("udp", int(SHARE * most["per_second"]), long))
    show(results)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    ours = [row for part in ("restarts", "kills") for row in results.get(part, []) if row["name"] == "Outlast"]
    return 0 if all(row["pass"] for row in ours) and good_ratios(results) else 1


def good_ratios(results):
    checks = [beside(results.get("rates", []), "udp")]
    by_input = {row["input"]: [r for r in results["steady"] if r["input"] == row["input"]] for row in results.get("steady", [])}
    checks += [1 / ratio for ratio in (beside(rows, "cpu_us") for rows in by_input.values()) if ratio]
    return (all(ratio is None or ratio >= 1 for ratio in checks) and
            all(row["lost"] == row["duplicated"] == 0 and row.get("pass", True) for row in results.get("table", [])))


if __name__ == "__main__":
    sys.exit(main())
