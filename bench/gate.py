#!/usr/bin/env python3
"""What it costs to count one piece of work in and out of a node. See bench/README.md."""
import argparse
import json
import os
import subprocess
import sys

from local_cluster import machine

WANTED_NS = 20.0
PROGRAM = os.path.join(os.path.dirname(os.environ.get("OUTLAST_BINARY", "build/release/outlast")), "gate_bench")


def measure(quick):
    words = [PROGRAM, "--benchmark_format=json", "--benchmark_repetitions=3", f"--benchmark_min_time={0.1 if quick else 0.5}"]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return [b for b in json.loads(done.stdout)["benchmarks"] if b.get("aggregate_name") == "median"]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    found = measure(options.quick)
    rows = []
    for b in (b for b in found if b["run_name"].startswith("admit_and_end")):
        # Processor time of one piece of work, and how many all threads together do in a second.
        rows.append({"threads": b["threads"], "ns": b["cpu_time"], "per_second": 1e9 / b["real_time"]})
    print(f"{'threads':>7}{'CPU ns':>8}{'millions/s':>12}{'scaling':>9}")
    for row in rows:
        row["scaling"] = row["per_second"] / rows[0]["per_second"]
        print(f"{row['threads']:7}{row['ns']:8.1f}{row['per_second'] / 1e6:12.1f}{row['scaling']:9.2f}")
    instructions = next(b for b in found if b["run_name"].startswith("instructions"))["instructions"]
    print(f"instructions: {instructions:.1f}" if instructions else "instructions: tracing is not allowed here")
    ledger = next(b for b in found if b["run_name"] == "read_ledger")
    print(f"reading the ledger: {ledger['real_time']:.0f} ns")
    good = rows[0]["ns"] <= WANTED_NS
    print(f"one thread: {rows[0]['ns']:.1f} ns, at most {WANTED_NS:.0f} wanted: {'ok' if good else 'WORSE THAN WANTED'}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "wanted": {"ns": WANTED_NS}, "pass": good, "gate": rows, "instructions": instructions,
                       "ledger_ns": ledger["real_time"]}, file, indent=1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
