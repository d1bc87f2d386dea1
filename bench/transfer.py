#!/usr/bin/env python3
"""How long all leases of a node take to move elsewhere while their databases are idle. See bench/README.md."""
import argparse
import json
import sys
import time
import urllib.request

from local_cluster import Cluster

LEASES_PER_SECOND_WANTED = 500


def transfer(cluster, node, query=""):
    request = urllib.request.Request(
        f"http://{cluster.facts(node)['http_addr']}/api/leases/transfer{query}", data=b"", method="POST")
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()
    rows = []
    with Cluster(3) as cluster:
        cluster.create_databases("idle", options.databases, seconds=900)
        for round_number in range(options.rounds):
            node = round_number % 3
            for other in range(3):  # all leases to one node, faster than placement evens them out again
                if other != node:
                    transfer(cluster, other, f"?to={cluster.facts(node)['node_id']}&at_once=200")
            began = time.monotonic()
            progress = transfer(cluster, node)
            seconds = time.monotonic() - began
            gateway = (node + 1) % 3
            for i in range(0, options.databases, max(1, options.databases // 50)):  # they are served, not only moved
                with cluster.connect(gateway, f"idle_{i}").cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM pg_class")
            rows.append({"moved": progress["moved"], "failed": len(progress["failed"]), "seconds": seconds,
                         "served_seconds": time.monotonic() - began})
            for failed in progress["failed"][:5]:
                print(failed, file=sys.stderr)
    print(f"{'moved':>8}{'failed':>8}{'seconds':>9}{'leases/s':>10}{'50 asked after s':>18}")
    good = True
    for row in rows:
        row["pass"] = row["failed"] == 0 and row["moved"] >= LEASES_PER_SECOND_WANTED * row["seconds"]
        good = good and row["pass"]
        print(f"{row['moved']:8}{row['failed']:8}{row['seconds']:9.2f}{row['moved'] / row['seconds']:10.0f}"
              f"{row['served_seconds']:18.2f}  {'ok' if row['pass'] else 'WORSE THAN WANTED'}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"wanted": {"leases_per_second": LEASES_PER_SECOND_WANTED}, "rounds": rows}, file, indent=1)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
