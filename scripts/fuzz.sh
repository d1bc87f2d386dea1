#!/usr/bin/env bash
# Runs fuzzers: fuzz.sh [NAME|all [SECONDS]]. Findings stay in build/fuzz/findings. Ends with "N passed, N failed".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/build.sh
name=${1:-all} seconds=${2:-60}
passed=0 failed=0
mapfile -t fuzzers < <(find tests/fuzz -name '*_fuzz.cc' -printf '%f\n' 2> /dev/null | sed 's/\.cc$//' | sort)
[ "$name" = all ] || fuzzers=("$name")
if [ ${#fuzzers[@]} -gt 0 ] && ! build asan "${fuzzers[@]}"; then
  echo "0 passed, ${#fuzzers[@]} failed"
  exit 1
fi
mkdir -p build/fuzz/findings
for fuzzer in "${fuzzers[@]}"; do
  corpus="build/fuzz/corpus/$fuzzer"
  mkdir -p "$corpus"
  seeds=()
  [ -d "tests/fuzz/seeds/$fuzzer" ] && seeds=("tests/fuzz/seeds/$fuzzer")
  echo "-- $fuzzer for $seconds s"
  if timeout --kill-after=10 $((seconds + 120)) "build/asan/$fuzzer" "-max_total_time=$seconds" -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 "-artifact_prefix=build/fuzz/findings/$fuzzer-" "$corpus" "${seeds[@]}"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "$fuzzer found something: run build/asan/$fuzzer on the file in build/fuzz/findings"
  fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
