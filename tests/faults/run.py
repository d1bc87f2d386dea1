#!/usr/bin/python3
"""Real faults against real nodes: each fault's outcome is the one that docs/replication.md's table promises, while bank,
append and register clients run; what they were told is checked afterwards. Needs root, for network namespaces.
`tests/faults/run.py NAME…` runs some; OUTLAST_SEED replays the clients' choices; OUTLAST_BINARY names the program.
Ends with "N passed, N failed"."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import net  # noqa: E402


def main():
    sys.argv[0] = os.path.abspath(__file__)
    os.chdir(pathlib.Path(__file__).resolve().parents[2])
    refused = net.enter()
    if refused:
        print(f"skipped: {refused}")
        print("0 passed, 0 failed")
        return 0
    import embedded_faults
    import etcd_faults
    import register
    seed = int(os.environ.get("OUTLAST_SEED", str(time.time_ns() % 1_000_000)))
    print(f"seed {seed}; OUTLAST_SEED={seed} makes the clients choose the same again")
    register.self_test()
    groups = [embedded_faults, etcd_faults]
    directory = pathlib.Path(tempfile.mkdtemp(prefix="outlast-faults-"))
    passed = failed = 0
    network = net.Network()
    for group in groups:
        chosen = [s for s in group.SCENARIOS if len(sys.argv) == 1 or any(w in s.__name__ for w in sys.argv[1:])]
        why_not = group.unavailable()
        if chosen and why_not:
            print(f"skipped {len(chosen)} scenarios of {group.__name__}: {why_not}")
        if not chosen or why_not:
            continue
        cluster, fresh = None, 0
        for scenario in chosen:
            began = time.monotonic()
            try:
                if cluster is None:
                    fresh += 1
                    cluster = group.start(network, directory / f"{group.__name__}{fresh}")
                note = scenario(cluster, seed)
                passed += 1
                print(f"ok     {scenario.__name__}: {scenario.__doc__.splitlines()[0]} ({note}; "
                      f"{time.monotonic() - began:.1f} s)", flush=True)
            except Exception as why:  # noqa: BLE001: whatever it was, the scenario failed
                failed += 1
                print(f"FAILED {scenario.__name__}: {scenario.__doc__.splitlines()[0]}", flush=True)
                if not isinstance(why, (cluster_module().Failure,)):
                    traceback.print_exc(file=sys.stdout)
                print(f"  {why}\n  logs: {cluster.dir if cluster else directory}", flush=True)
                network.heal()
                if cluster is not None:  # it may be in any state now: the next one gets a new one
                    cluster.stop()
                    cluster = None
        if cluster is not None:
            cluster.stop()
        group.stop()
    if failed == 0:
        subprocess.run(["umount", "-q", *[str(p) for p in directory.glob("*/disk*")]], check=False)
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


def cluster_module():
    import cluster
    return cluster


if __name__ == "__main__":
    sys.exit(main())
