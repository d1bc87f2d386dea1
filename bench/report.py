#!/usr/bin/env python3
"""Writes the tables of bench/README.md, and its plots, from what the benchmarks left in build/bench."""
import argparse
import glob
import json
import os
import re
import sys

from plot import chart

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = os.path.join(HERE, "..", "build", "bench")
NAMES = {
    "select": "select of one row",
    "insert": "insert of one row",
    "insert16": "the same into 16 databases",
    "tpcb": "TPC-B-like",
    "copy1000": "COPY of 1,000 rows",
    "copy1000i": "the same with a random index",
}
SERVERS = {"outlast": "at the leaseholder's node", "outlast_other": "through another node"}


def load(name):
    """The latest run first, then those before it."""
    found = []
    for path in [f"{RESULTS}/{name}.json", *sorted(glob.glob(f"{RESULTS}/{name}.[0-9]*.json"))]:
        try:
            with open(path, encoding="utf-8") as file:
                found.append(json.load(file))
        except OSError:
            pass
    return found


def lines(head, rows):
    rule = ["---" if i == 0 else "---:" for i in range(len(head))]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in [head, rule, *rows])


def verdict(good):
    return "yes" if good else "**no**"


def about(run):
    m = run["machine"]
    return f"{m['date']}, {m['cores']} cores ({m['cpu']}), load {m['load']:.1f} before it began."


def sql_table(runs):
    latest, rows = runs[0], []
    theirs = {(r["name"], r["clients"]): r for r in latest["rows"] if r["server"] == "postgres"}
    for r in latest["rows"]:
        if r["server"] == "postgres":
            continue
        pg = theirs[r["name"], r["clients"]]
        ratios = [next((f"{o['ratio']:.2f}" for o in run["rows"]
                        if (o["name"], o["clients"], o["server"]) == (r["name"], r["clients"], r["server"])), "–")
                  for run in reversed(runs[:3])]
        where = f", {SERVERS[r['server']]}" if r["name"] == "select" else ""
        rows.append([NAMES[r["name"]] + where, r["clients"], f"{pg['per_second']:,.0f}", f"{r['per_second']:,.0f}",
                     f"{pg['cpu_us']:,.0f}", f"{r['cpu_us']:,.0f}", ", ".join(ratios), r["wanted"], verdict(r["pass"])])
    head = ["load", "clients", "PostgreSQL, per s", "Outlast, per s", "its CPU, µs", "our CPU, µs",
            f"ratio, last {min(3, len(runs))} runs", "wanted", "reached"]
    return (f"{about(latest)} {latest['rounds']} rounds of {latest['seconds']} s, medians.\n\n" + lines(head, rows))


def replication_table(runs):
    r, rows = runs[0], []
    for name, row in r.get("failover", {}).items():
        rows.append([f"fail-over, {name} killed", f"{row['median_seconds']:.2f} s (median of {len(row['runs'])})",
                     f"{row['wanted']} s", verdict(row["pass"])])
    if "transfers" in r:
        t = r["transfers"]
        rows.append(["1,000 idle leases transferred", f"{t['thousand_seconds']:.1f} s ({t['per_second']:,.0f} a second)",
                     f"{t['wanted']} s", verdict(t["pass"])])
    if "catchup" in r:
        c = r["catchup"]
        rows.append([f"catch-up of {c['runs'][0]['mib']:.0f} MiB against `cp` and fsync",
                     f"{c['ratio']:.2f} ({c['runs'][0]['seconds']:.1f} s)", c["wanted"], verdict(c["pass"])])
    if "ranges" in r:
        most, part = r["ranges"]["rows"][-1], r["ranges"]
        rows.append([f"three nodes with {most['ranges']:,} ranges: start", f"{most['start_seconds']:.1f} s",
                     f"{part['wanted_start']} s", verdict(most["start_seconds"] <= part["wanted_start"])])
        rows.append([f"three nodes with {most['ranges']:,} ranges: idle, of a core per node",
                     f"{most['idle_cpu_percent']:.1f} %", f"{part['wanted_idle']} %",
                     verdict(most["idle_cpu_percent"] <= part["wanted_idle"])])
    return about(r) + "\n\n" + lines(["what", "measured", "wanted", "reached"], rows)


def ranges_table(runs):
    rows = [[f"{r['ranges']:,}", f"{r['created_per_second'] or 0:.0f}", f"{r['start_seconds']:.1f}",
             f"{r['idle_cpu_percent']:.1f}", f"{r['rss_mib']:.0f}"] for r in runs[0]["ranges"]["rows"]]
    return lines(["ranges", "created a second", "start, s", "idle CPU, % of a core", "memory of a node, MiB"], rows)


def sizes_table(runs):
    rows = [[f"{r['mib']:,}", f"{r['select_big']:,.0f}", f"{r['update_big']:,.0f}", f"{r['fill_mib_per_second']:.0f}",
             f"{r['failover_seconds']:.2f}"] for r in runs[0]["sizes"]["rows"]]
    return lines(["MiB", "reads a second", "updates a second", "filled, MiB/s", "fail-over, s"], rows)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def plots(run):
    if "ranges" in run:
        rows = run["ranges"]["rows"]
        series = {"start, s": [(r["ranges"], r["start_seconds"]) for r in rows],
                  "idle CPU, %": [(r["ranges"], max(r["idle_cpu_percent"], 0.1)) for r in rows],
                  "memory, MiB": [(r["ranges"], r["rss_mib"]) for r in rows]}
        write(f"{HERE}/plots/ranges.svg", chart("Cost against the number of ranges", "ranges on three nodes", series))
    if "sizes" in run:
        rows = run["sizes"]["rows"]
        series = {"reads a second": [(r["mib"], r["select_big"]) for r in rows],
                  "updates a second": [(r["mib"], r["update_big"]) for r in rows],
                  "fail-over, s": [(r["mib"], r["failover_seconds"]) for r in rows]}
        write(f"{HERE}/plots/sizes.svg", chart("Cost against the size of a database", "MiB", series))


def fill(text, mark, table):
    new, count = re.subn(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", lambda m: m[1] + "\n" + table + "\n\n" + m[2],
                         text, flags=re.DOTALL)
    if count != 1:
        raise RuntimeError(f"bench/README.md has no place for {mark}")
    return new


def main():
    argparse.ArgumentParser(description=__doc__).parse_known_args()
    path = f"{HERE}/README.md"
    with open(path, encoding="utf-8") as file:
        text = file.read()
    sql, replication = load("sql"), load("replication")
    if sql:
        text = fill(text, "sql", sql_table(sql))
    if replication:
        text = fill(text, "replication", replication_table(replication))
        for part, table in (("ranges", ranges_table), ("sizes", sizes_table)):
            if part in replication[0]:
                text = fill(text, part, table(replication))
        plots(replication[0])
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
