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


def restart_load_table(run):
    rows = []
    for r in run["under_load"]:
        load, total = r["load"], r["phases_ms"]["total"]
        rows.append([f"Outlast, {r['nodes']} node{'s' if r['nodes'] > 1 else ''}", r["restarts"], f"{load['statements']:,}",
                     load["failed"], load["lost"], f"{load['longest_ms']:,.0f} ms", f"{r['wanted']['pause_ms']:,} ms",
                     f"{total['median']:,.0f} ms", f"{total['max']:,.0f} ms", verdict(r["pass"])])
    if "postgres" in run:
        p = run["postgres"]
        load = p["load"]
        rows.append(["PostgreSQL, fast restart of the primary", p["restarts"], f"{load['statements']:,}", load["failed"],
                     load["lost"], f"{load['longest_ms']:,.0f} ms", "–", f"{1000 * p['seconds']['median']:,.0f} ms",
                     f"{1000 * p['seconds']['max']:,.0f} ms", "–"])
    return lines(["under load", "restarts", "statements", "failed", "connections lost", "longest pause", "wanted",
                  "restart, median", "longest", "reached"], rows)


def restart_phases_table(run):
    phases = list(run["under_load"][0]["phases_ms"])
    rows = [[f"{r['nodes']} node{'s' if r['nodes'] > 1 else ''}",
             *(f"{r['phases_ms'][p]['median']:,.0f} ({r['phases_ms'][p]['max']:,.0f})" for p in phases)]
            for r in run["under_load"]]
    return lines(["median (longest), ms", *phases], rows)


def restart_idle_table(run):
    rows = [[f"{r['sessions']:,}", f"{r['moved']:,}", f"{r['alive']:,}", f"{r['moving_ms']:,.0f} ms",
             *(f"{r['pause_ms'][p]:,.0f} ms" for p in ("p50", "p99", "max")), f"{r['before_mib']:,.0f}",
             " + ".join(f"{mib:,.0f}" for mib in r["workers_mib"]), verdict(r["pass"])] for r in run["idle"]]
    return lines(["idle sessions", "moved", "answer afterwards", "sessions step", "pause p50", "p99", "max",
                  "worker before, MiB", "both workers, MiB", "≤ 1 s"], rows)


def restart_run_table(run):
    rows = [[r["name"], r["reloads"], f"{r['connections']:,}", r["failed"], f"{r['slowest_ms']:,.0f} ms", r["left_over"],
             f"{r['long_kept']} of {r['long']}"] for r in run["run"]]
    return lines(["server", "reloads", "connections", "failed", "slowest", "processes left over", "long requests alive"],
                 rows)


def restart_tables(runs):
    run = runs[0]
    parts = [about(run)]
    if run.get("under_load"):
        parts += [restart_load_table(run), restart_phases_table(run)]
    if run.get("idle"):
        parts.append(restart_idle_table(run))
    if "flat" in run:
        f = run["flat"]
        parts.append(lines([f"{f['restarts']} restarts", "descriptors before", "after", "MiB before", "after"],
                           [[name, f["before"][name]["fds"], f["after"][name]["fds"], f"{f['before'][name]['mib']:.1f}",
                             f"{f['after'][name]['mib']:.1f}"] for name in ("supervisor", "worker")]))
    if run.get("run"):
        parts.append(restart_run_table(run))
    return "\n\n".join(parts)


def ratio(rows, row, key):
    """To rsyslog's figure among `rows`."""
    base = next((r[key] for r in rows if r["name"] == "rsyslog"), 0)
    return f"{row[key] / base:.2f}" if base else "–"


def ingest_steady_table(run):
    rows = []
    for row in run.get("rates", []):
        same = {how: [r for r in run.get("steady", []) if r["input"] == how] for how in ("udp", "tcp")}
        mine = {how: next((r for r in found if r["name"] == row["name"]), None) for how, found in same.items()}
        cells = [f"{row['name']} {row['version']}", *(f"{row[how]:,.0f} ({ratio(run['rates'], row, how)})" for how in same)]
        for how, r in mine.items():
            cells.append(f"{r['cpu_us']:.2f} ({ratio(same[how], r, 'cpu_us')})" if r else "–")
        cells += [f"{mine['udp']['memory_mib']:.0f}", " and ".join(str(r["lost"]) for r in mine.values())] if mine["udp"] else ["–", "–"]
        rows.append(cells)
    head = ["into a file", "UDP, per s without a drop (ratio)", "TCP, per s (ratio)", "UDP, CPU µs a record (ratio)",
            "TCP, CPU µs a record (ratio)", "memory, MiB", "lost, UDP and TCP"]
    wanted = run["wanted"]
    sender = ", ".join(f"{how.upper()} {max(r['sender_cpu_us'] for r in run['steady'] if r['input'] == how):.2f} µs"
                       for how in ("udp", "tcp")) if run.get("steady") else "–"
    return (f"CPU, memory and losses at {wanted['rate_udp']:,} datagrams and {wanted['rate_tcp']:,} records over TCP a second; the "
            f"senders' own CPU a record, not counted: {sender}.\n\n" + lines(head, rows))


def ingest_restart_table(run):
    rows = []
    for r in run["restarts"]:
        gap = f"{r['gap_ms']:,.1f} ms" if "udp" in r["inputs"] or r["name"] != "Outlast" else "–"
        rows.append([f"{r['name']}, {'UDP' if 'udp' in r['inputs'] else 'TCP and syslog/TCP'}", r["restarts"], f"{r['sent']:,}",
                     f"{r['drops']} + {r['nobody']}", r["lost"], r["duplicated"], r["out_of_order"], r["resets"], gap,
                     f"{r['memory']:.2f} × {r['steady_mib']:.0f}", f"{1000 * r['seconds']:,.0f} ms",
                     verdict(r["pass"]) if r["name"] == "Outlast" else "–"])
    return lines(["under load", "restarts", "sent", "dropped: buffer full + nobody there", "lost", "duplicated", "out of order",
                  "connections reset", "longest gap", "peak of memory, MiB", "restart, median", "reached"], rows)


def ingest_kill_table(run):
    return lines(["worker killed (-9)", "kills", "sent", "lost", "duplicated", "reached"],
                 [[f"{r['name']}, {'acknowledged HTTP' if r['input'] == 'http' else 'UDP'}", r["kills"], f"{r['sent']:,}", r["lost"],
                   r["duplicated"], verdict(r["pass"]) if r["name"] == "Outlast" else "–"] for r in run["kills"]])


def ingest_table_table(run):
    base = next((r["cpu_us"] for r in run.get("steady", []) if r["name"] == "Outlast" and r["input"] == "tcp"), 0)
    return lines(["into a table with three copies", "records a second", "CPU µs a record, all nodes", "to the file's",
                  "sender's CPU", "lost", "duplicated", "wanted, per s", "reached"],
                 [["syslog/TCP, as many as it takes" if r["rate"] == 0 else "UDP at 60 % of that", f"{r['per_second']:,.0f}",
                   f"{r['cpu_us']:.1f}", f"{r['cpu_us'] / base:.1f} ×" if base else "–", f"{r['sender_cpu_us']:.2f}", r["lost"],
                   r["duplicated"], *((f"{r['wanted']:,}", verdict(r["pass"])) if "pass" in r else ("–", "–"))]
                  for r in run["table"]])


def ingest_tables(runs):
    run, parts = runs[0], []
    parts.append(about(run) + f" Linux {run['machine']['kernel']}.")
    for name, table in (("rates", ingest_steady_table), ("restarts", ingest_restart_table), ("kills", ingest_kill_table),
                        ("table", ingest_table_table)):
        if run.get(name):
            parts.append(table(run))
    return "\n\n".join(parts)


def ranges_table(runs):
    rows = [[f"{r['ranges']:,}", f"{r['created_per_second'] or 0:.0f}", f"{r['start_seconds']:.1f}",
             f"{r['idle_cpu_percent']:.1f}", f"{r['rss_mib']:.0f}"] for r in runs[0]["ranges"]["rows"]]
    return lines(["ranges", "created a second", "start, s", "idle CPU, % of a core", "memory of a node, MiB"], rows)


def sizes_table(runs):
    rows = [[f"{r['mib']:,}", f"{r['select_big']:,.0f}", f"{r['update_big']:,.0f}", f"{r['fill_mib_per_second']:.0f}",
             f"{r['failover_seconds']:.2f}"] for r in runs[0]["sizes"]["rows"]]
    return lines(["MiB", "reads a second", "updates a second", "filled, MiB/s", "fail-over, s"], rows)


def decommission_table(runs):
    latest = runs[0]
    rows = [[r["replicas"], f"{r['mib']:,.0f}", f"{r['seconds']:.2f}",
             " ".join(f"{c:.2f}" for c in r["copies_seconds"]), f"{r['efficiency']:.2f}",
             f"{r['steady']['per_second']:.0f}", f"{r['during']['per_second']:.0f}", f"{r['steady']['p99_ms']:.1f}",
             f"{r['copying']['p99_ms']:.1f}", f"{r['during']['p99_ms']:.1f}", f"{r['p99_ratio']:.2f}", r["errors"]]
            for r in latest["runs"]]
    head = ["replicas", "MiB", "moved in, s", "cp and fsync, s", "efficiency", "statements a second", "meanwhile",
            "p99, ms", "while copying", "while moving", "ratio", "failed"]
    efficiency, p99 = latest["wanted"]
    good = latest["efficiency"] <= efficiency, latest["p99_ratio"] <= p99
    return (about(latest) + "\n\n" + lines(head, rows) + f"\n\nMedians: efficiency {latest['efficiency']:.2f} (wanted "
            f"{efficiency:.0f} or less, reached: {verdict(good[0])}), p99 {latest['p99_ratio']:.2f} × (wanted {p99} or "
            f"less, reached: {verdict(good[1])}).")


def stream_load_table(run):
    kinds = {"plain": ("ordinary", "postgres"), "parts": (f"{run['partitions']} partitions", "postgres_parts")}
    by_key = {(r["rows"], r["clients"], r["server"]): r for r in run["rows"]}
    rows = []
    for r in run["rows"]:
        if r["server"] in kinds:
            name, peer = kinds[r["server"]]
            pg = by_key[r["rows"], r["clients"], peer]
            rows.append([f"{r['rows']:,}", r["clients"], name, f"{pg['per_second']:,.0f}", f"{r['per_second']:,.0f}",
                         f"{pg['cpu_us']:.1f}", f"{r['cpu_us']:.1f}", f"{r['ratio']:.2f}", verdict(r["pass"]),
                         f"{r['ratio_to_ordinary']:.2f}"])
    return f"{about(run)} {run['rounds']} rounds, medians; ratio wanted: {run['wanted']}.\n\n" + lines(
        ["rows a load", "clients", "table", "PostgreSQL, rows/s", "Outlast, rows/s", "its CPU, µs a row", "our CPU, µs a row",
         "ratio", "reached", "ratio to its ordinary table"], rows)


def fragments_table(run):
    rows = [[f"{run['rows']:,} rows: scan and aggregate in one range", f"{run['one_range_ms']:.0f} ms", "–", "–"],
            ["the same in 6 partitions on three nodes", f"{run['partitions_ms']:.0f} ms ({run['ratio']:.2f} × as fast)",
             "faster", verdict(run["ratio"] > 1)],
            ["each fragment", f"{run['fragment_ms']:.2f} ms", f"{run['wanted_fragment_ms']:.0f} ms",
             verdict(run["fragment_ms"] <= run["wanted_fragment_ms"])]]
    rows += [[f"gateway, {m['query']}, {m['rows']:,} rows", f"{m['before_mib']:.0f} + {m['grew_mib']:.0f} MiB, {m['ended']}",
              "bounded", verdict(m["bounded"])] for m in run["memory"]]
    return about(run) + "\n\n" + lines(["what", "measured", "wanted", "reached"], rows)


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
    sql, replication, restart, ingest, decommission = (
        load(name) for name in ("sql", "replication", "restart", "ingest", "decommission"))
    for name, table in (("stream_load", stream_load_table), ("fragments", fragments_table)):
        if runs := load(name):
            text = fill(text, name, table(runs[0]))
    if sql:
        text = fill(text, "sql", sql_table(sql))
    if restart:
        text = fill(text, "restart", restart_tables(restart))
    if ingest:
        text = fill(text, "ingest", ingest_tables(ingest))
    if decommission:
        text = fill(text, "decommission", decommission_table(decommission))
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
