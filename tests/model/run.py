#!/usr/bin/env python3
"""Checks the protocol's model with spin: what must hold holds in every state of the configurations below, and every
planted bug is found. Ends with "N passed, N failed". `tests/model/run.py NAME…` runs some; a failure keeps its folder
and prints how to see the run that led to it. Sources: range.pml, clock.pml; docs/replication.md says what they mean."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CC = "clang-19"
MEMORY_MB = 3500
SECONDS = 300  # for one configuration; an idle core needs a tenth

# Name, model, switches: explored completely, without an error.
CLEAN = [
    ("two crashes", "range.pml", "CRASHES=2"),
    ("crash, removal, promotion", "range.pml", "CRASHES=1 CHANGES=2"),
    ("two crashes, removal, promotion", "range.pml", "CRASHES=2 CHANGES=2 WRITES=1"),
    ("false fence, removal or promotion", "range.pml", "FENCES=1 CHANGES=1"),
    ("false fence, crash", "range.pml", "FENCES=1 CRASHES=1 WRITES=1"),
    ("wiped disk, crash, removal, promotion", "range.pml", "CRASHES=2 WIPES=1 CHANGES=1 WRITES=1"),
    ("fall-back, two crashes", "range.pml", "FALLS=1 CRASHES=2 WRITES=1"),
    ("fall-back, crash", "range.pml", "FALLS=1 CRASHES=1"),
    ("transfer, crash, removal", "range.pml", "TRANSFERS=1 CRASHES=1 CHANGES=1"),
    ("release, crash", "range.pml", "RELEASES=1 CRASHES=1"),
    ("reads, false fence", "range.pml", "READS=1 FENCES=1 WRITES=1"),
    ("reads, transfer, removal, promotion", "range.pml", "READS=1 TRANSFERS=1 CHANGES=2 WRITES=1"),
    ("reads, release, removal", "range.pml", "READS=1 RELEASES=1 CHANGES=1 WRITES=1"),
    ("request in doubt, two crashes", "range.pml", "RESOLVES=1 CRASHES=2 WRITES=1"),
    ("request in doubt, crash, fall-back", "range.pml", "RESOLVES=1 CRASHES=1 FALLS=1"),
    ("progress after two crashes, one for good", "range.pml", "PROGRESS CRASHES=2 DEATHS=1 WRITES=1"),
    ("progress after a crash for good, fall-back", "range.pml", "PROGRESS CRASHES=1 DEATHS=1 FALLS=1 WRITES=1"),
    ("progress after a crash for good, release", "range.pml", "PROGRESS CRASHES=1 DEATHS=1 RELEASES=1 WRITES=1"),
    ("progress after a wiped disk", "range.pml", "PROGRESS CRASHES=1 WIPES=1 WRITES=1"),
    ("progress after a false fence", "range.pml", "PROGRESS FENCES=1 WRITES=1"),
    ("fast reads end before a fence", "clock.pml", ""),
    ("no stampede when metadata returns", "clock.pml", "PROMPT"),
]

# Bug, model, switches under which it shows itself.
BUGS = [
    ("FALL_BACK_KEEPS_EPOCH", "range.pml", "FALLS=1"),
    ("PROMOTION_WITHOUT_UNION", "range.pml", "CHANGES=2"),
    ("REMOVAL_BEFORE_CONFIRMED", "range.pml", "CHANGES=1"),
    ("DOUBT_IS_FAILURE", "range.pml", "CHANGES=2"),
    ("LEASE_BY_NODE", "range.pml", "CRASHES=1"),
    ("SHRINK_TO_ONE", "range.pml", "CHANGES=2"),
    ("APPLY_WHOLE_LOG", "range.pml", ""),
    ("WIPED_KEEPS_ID", "range.pml", "CRASHES=2 WIPES=1 WRITES=1"),
    ("ACKNOWLEDGED_BY_NODE", "range.pml", "PROGRESS CRASHES=1 WIPES=1 WRITES=1"),
    ("SUCCESSOR_CUTS_ITS_TAIL", "range.pml", "CRASHES=1"),
    ("FOLLOWER_CUTS_TO_DURABLE", "range.pml", "CRASHES=1"),
    ("SERVE_BEFORE_ALL", "range.pml", "CRASHES=1"),
    ("NOT_POISONED", "range.pml", "RESOLVES=1 WRITES=1"),
    ("EPOCH_NOT_ADDRESSED", "range.pml", "RESOLVES=1 CRASHES=1 WRITES=1"),
    ("RESOLVE_WHILE_ACTIVATING", "range.pml", "RESOLVES=1 CRASHES=2 WRITES=1"),
    ("READ_BEHIND_CLOSED_GATE", "range.pml", "READS=1 TRANSFERS=1 CHANGES=2 WRITES=1"),
    ("READ_BEHIND_CLOSED_GATE", "range.pml", "READS=1 RELEASES=1 CHANGES=2 WRITES=1"),
    ("DEADLINE_AT_BEGIN", "range.pml", "READS=1 FENCES=1 WRITES=1"),
    ("ANSWER_NOT_GATED", "range.pml", "READS=1 WRITES=1"),
    ("NO_PROMOTION_WHILE_ACTIVATING", "range.pml", "PROGRESS CRASHES=2 DEATHS=1 WRITES=1"),
    ("LEASE_FROM_ANSWER", "clock.pml", ""),
    ("NO_DRIFT_MARGIN", "clock.pml", ""),
    ("FENCE_WITHOUT_COMPARE", "clock.pml", ""),
    ("SESSION_NOT_COUNTED", "clock.pml", "PROMPT"),
]


def explore(model, switches, optimise):
    """Builds the checker in a folder of its own and runs it. Returns (folder, its output, seconds)."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="outlast-model-"))
    defines = ["-D" + s for s in switches]
    subprocess.run(["spin", f"-P{CC} -E -x c", *defines, "-a", str(HERE / model)], cwd=folder, check=True,
                   stdout=subprocess.DEVNULL)
    # Progress: no run goes round in circles, so each ends, and where it ends the model's own assertion looks.
    mode, search = ("-DNP", ["-l"]) if "PROGRESS" in switches else ("-DSAFETY", [])
    subprocess.run([CC, optimise, "-w", mode, "-DNOREDUCE", "-DNOBOUNDCHECK", "-DVECTORSZ=512",
                    f"-DMEMLIM={MEMORY_MB}", "-o", "pan", "pan.c"], cwd=folder, check=True)
    began = time.monotonic()
    run = subprocess.run(["./pan", "-m100000", "-w22", *search], cwd=folder, timeout=SECONDS, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, text=True)
    return folder, run.stdout, time.monotonic() - began


def states(output):
    found = re.search(r"(\d+) states, stored", output)
    return int(found[1]) if found else 0


def check(name, model, switches, bug):
    """True when the outcome is the wanted one."""
    switches = switches.split() + (["BUG_" + bug] if bug else [])
    try:
        folder, output, seconds = explore(model, switches, "-O0" if bug else "-O2")
    except (subprocess.SubprocessError, OSError) as error:
        print(f"FAILED: {name}: {error}", flush=True)
        return False
    # Complete: nothing was cut off by depth, memory or time.
    complete = "errors: 0" in output and "Search not completed" not in output and "too small" not in output
    reason = re.search(r"pan:1: (.*?) \(at depth", output)
    good = bool(reason) if bug else complete
    outcome = f"found: {reason[1]}" if reason else "every state explored" if complete else "nothing found"
    print(f"{'ok    ' if good else 'FAILED'} {name} ({' '.join(switches) or 'no fault'}): {outcome}; "
          f"{states(output)} states, {seconds:.1f} s", flush=True)
    if good:
        shutil.rmtree(folder)
        return True
    print(f"  replay: cd {folder} && spin -P'{CC} -E -x c' {' '.join('-D' + s for s in switches)} -t -p -k "
          f"{model}.trail {HERE / model}", flush=True)
    return False


def main():
    wanted = sys.argv[1:]
    runs = [(name, model, switches, None) for name, model, switches in CLEAN]
    runs += [("planted " + bug.lower().replace("_", " "), model, switches, bug) for bug, model, switches in BUGS]
    runs = [r for r in runs if not wanted or any(w in r[0] for w in wanted)]
    results = [check(*r) for r in runs]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if results and all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
