#!/usr/bin/env bash
# Crash demos with new seeds until the time is over; stops at the first that does not pass. Called by `./dev soak`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly SOAK_SECONDS=${1:-3600}
passed=0
mkdir -p build/soak
while [ "$SECONDS" -lt "$SOAK_SECONDS" ]; do
  seed=$((RANDOM * 32768 + RANDOM + 1))
  if ! build/release/outlast demo --scenario=crash --duration=60s --seed=$seed --report=build/soak/last.json; then
    echo "run again with: ./dev run -- --scenario=crash --duration=60s --seed=$seed"
    echo "$passed passed, 1 failed"
    exit 1
  fi
  passed=$((passed + 1))
done
echo "$passed passed, 0 failed"
