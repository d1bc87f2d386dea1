#!/usr/bin/env bash
# bench.sh [NAME…] [--OPTION…]: runs bench/NAME.py with the options, prints tables, writes build/bench/NAME.json and keeps
# the results before it as NAME.1.json and NAME.2.json. Called by `./dev bench`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/build.sh
export OUTLAST_BINARY="$PWD/build/release/outlast"
# Debian's python3, because psycopg2 comes as its package.
readonly LIBRARY='ingest_load|ingest_programs|ingest_table|local_cluster|load|plot|postgres|processes|restart_clients|restart_run'
mkdir -p build/bench
names=() options=()
for word in "$@"; do
  case "$word" in --*) options+=("$word") ;; *) names+=("$word") ;; esac
done
[ ${#names[@]} -eq 0 ] && names=(failover idle)
for name in "${names[@]}"; do
  if [ ! -f "bench/$name.py" ] || [[ $name =~ ^($LIBRARY)$ ]]; then
    echo "./dev bench: there is no \"$name\": $(cd bench && ls ./*.py | sed 's/^\.\///; s/\.py$//' | grep -vxE "$LIBRARY" | tr '\n' ' ')" >&2
    exit 2
  fi
done
rc=0
for name in "${names[@]}"; do
  result=build/bench/$name
  programs=()
  for source in "bench/$name.cc" "bench/${name}_"*.cc; do
    [ ! -f "$source" ] || programs+=("$(basename "$source" .cc)_bench")
  done
  [ ${#programs[@]} -eq 0 ] || build release "${programs[@]}" || exit 1
  if [ "$name" != report ] && [ -f "$result.json" ]; then
    [ -f "$result.1.json" ] && mv "$result.1.json" "$result.2.json"
    mv "$result.json" "$result.1.json"
  fi
  /usr/bin/python3 "bench/$name.py" --json="$result.json" "${options[@]}" || rc=1
done
exit $rc
