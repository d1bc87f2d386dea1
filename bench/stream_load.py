#!/usr/bin/env python3
"""Stream loads into an ordinary and into a partitioned table on three nodes against PostgreSQL's COPY into such tables with
two synchronous standbys, the same CSV rows, in one run. See bench/README.md."""
import argparse
import http.client
import io
import json
import multiprocessing
import random
import statistics
import sys
import time

from load import Target
from local_cluster import Cluster, machine
from postgres import Postgres

WANTED = 0.7
COLUMNS = "(id bigint PRIMARY KEY, owner integer NOT NULL, note text NOT NULL)"
PEERS = {"plain": "postgres", "parts": "postgres_parts"}  # ours: the table of PostgreSQL that is made alike
SERVERS = ("postgres", "postgres_parts", "plain", "parts")
SIZES = ((1_000, 60), (10_000, 12), (100_000, 3))  # rows of a load, loads of a sample


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def bodies(first, rows, loads):
    """Keys go on where the last ones ended, as those of orders or events do."""
    chance = random.Random(first)
    return ["".join(f"{first + load * rows + i},{chance.randrange(1_000_000_000)},a line of some forty bytes of plain text\n"
                    for i in range(rows)).encode() for load in range(loads)]


def copy_all(address, table, texts):
    connection = Target(*address).connect("postgres")
    with connection.cursor() as cursor:
        yield
        for text in texts:
            cursor.copy_expert(f"COPY {table} (id, owner, note) FROM STDIN (FORMAT csv)", io.BytesIO(text))
    connection.close()


def put_all(address, table, texts):
    connection = http.client.HTTPConnection(*address, timeout=120)
    connection.connect()
    yield
    for number, text in enumerate(texts):
        label = f"l{time.time_ns()}-{number}-{id(texts)}"
        connection.request("PUT", f"/api/defaultdb/{table}/_stream_load", text, {"label": label})
        answer = json.loads(connection.getresponse().read())
        if answer["Status"] != "Success":
            raise RuntimeError(f"{table}: {answer}")
    connection.close()


def work(send, address, table, texts, barrier):
    sending = send(address, table, texts)
    next(sending)
    barrier.wait(60)
    for _ in sending:
        pass


def run(send, address, table, texts, clients):
    """Seconds until all are in, the texts shared out among the clients."""
    barrier = multiprocessing.Barrier(clients + 1)
    workers = [multiprocessing.Process(target=work, daemon=True, args=(send, address, table, texts[c::clients], barrier))
               for c in range(clients)]
    for worker in workers:
        worker.start()
    barrier.wait(60)
    began = time.monotonic()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError(f"a client of {table} failed: {send.__name__}")
    return time.monotonic() - began


def measure(systems, options):
    samples, first = {}, 0
    for number in range(options.rounds):
        for rows, loads in SIZES:
            for clients in options.clients:
                texts = bodies(first, rows, max(loads, clients))
                first += rows * len(texts)
                for server in SERVERS if number % 2 == 0 else reversed(SERVERS):
                    send, address, table, cpu = systems[server]
                    before, total = cpu(), rows * len(texts)
                    per_second = total / run(send, address, table, texts, clients)
                    samples.setdefault((rows, clients, server), []).append((per_second, 1e6 * (cpu() - before) / total))
                    say(f"round {number + 1}, {rows} rows, {clients} clients, {server}: {per_second:,.0f} rows/s")
    return samples


def summarize(samples):
    rows = []
    for (size, clients, server), runs in samples.items():
        row = {"rows": size, "clients": clients, "server": server, "runs": [round(rate) for rate, _ in runs],
               "per_second": statistics.median(rate for rate, _ in runs),
               "cpu_us": statistics.median(cpu for _, cpu in runs)}
        if server in PEERS:
            for name, peer in (("ratio", PEERS[server]), ("ratio_to_ordinary", "postgres")):
                pairs = zip(runs, samples[size, clients, peer])
                row[name] = statistics.median(ours[0] / theirs[0] for ours, theirs in pairs)
            row["pass"] = row["ratio"] >= WANTED
        rows.append(row)
    return rows


def table(rows):
    print(f"{'rows a load':>11}{'clients':>8}{'server':>16}{'rows/s':>10}{'CPU us/row':>12}{'ratio':>7}{'to ordinary':>13}")
    for r in rows:
        ratio = (f"{r['ratio']:7.2f}{r['ratio_to_ordinary']:13.2f}  {'ok' if r['pass'] else 'WORSE THAN WANTED'}"
                 if "ratio" in r else "")
        print(f"{r['rows']:11,}{r['clients']:8}{r['server']:>16}{r['per_second']:10,.0f}{r['cpu_us']:12.1f}{ratio}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 rounds instead of 5")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--clients", type=int, action="append", help="1 and 4; may be given again")
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--json")
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.clients = options.clients or [1, 4]
    with Postgres() as postgres, Cluster(3) as cluster:
        with postgres.connect().cursor() as cursor:
            cursor.execute(f"CREATE TABLE plain {COLUMNS}")
            cursor.execute(f"CREATE TABLE parts {COLUMNS} PARTITION BY HASH (id)")
            for part in range(options.partitions):
                cursor.execute(f"CREATE TABLE part_{part} PARTITION OF parts FOR VALUES WITH "
                               f"(MODULUS {options.partitions}, REMAINDER {part})")
        with cluster.connect(0).cursor() as cursor:
            cursor.execute(f"CREATE TABLE plain {COLUMNS}")
            cursor.execute(f"CREATE TABLE parts {COLUMNS} PARTITION BY HASH (id) PARTITIONS {options.partitions}")
        cluster.wait_replicated(3, ranges=1 + options.partitions)
        node = cluster.leaseholder_of("defaultdb")
        host, _, port = cluster.facts(node)["http_addr"].rpartition(":")
        systems = {}
        for name, peer in PEERS.items():
            systems[peer] = (copy_all, postgres.address(), name, postgres.cpu_seconds)
            systems[name] = (put_all, (host, int(port)), name, cluster.cpu_seconds)
        rows = summarize(measure(systems, options))
    table(rows)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "rounds": options.rounds, "partitions": options.partitions, "wanted": WANTED,
                       "rows": rows}, file, indent=1)
    return 0 if all(row.get("pass", True) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
