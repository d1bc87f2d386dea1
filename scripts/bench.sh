#!/usr/bin/env bash
# bench.sh [failover|idle…]: prints tables, writes build/bench/NAME.json. Called by `./dev bench`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export OUTLAST_BINARY="$PWD/build/release/outlast"
mkdir -p build/bench
[ $# -eq 0 ] && set -- failover idle
rc=0
for name in "$@"; do
  if [ ! -f "bench/$name.py" ]; then
    echo "./dev bench: there is no \"$name\": $(cd bench && ls ./*.py | grep -v local_cluster | sed 's/^\.\///; s/\.py$//' | tr '\n' ' ')" >&2
    exit 2
  fi
  python3 "bench/$name.py" --json="build/bench/$name.json" || rc=1
done
exit $rc
