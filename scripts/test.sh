#!/usr/bin/env bash
# Runs test suites and ends with one line, "N passed, N failed"; returns non-zero when anything failed or nothing ran.
# Called by `./dev test`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/build.sh

readonly DEFAULT_SUITES=(style unit sim wire system model asan tsan fuzz)
# Rooms whose tests run under AddressSanitizer; rpc and cli need the whole server, which would double the build.
readonly ASAN_ROOMS=(base lifecycle liveness placement meta storage replication executor gateway fragments sql http handover run ingest)
# ThreadSanitizer cannot see into Debian's gRPC: these rooms do not link it.
readonly TSAN_ROOMS=(base lifecycle liveness placement meta storage replication executor gateway ingest)
readonly PROGRAM_TIMEOUT=${PROGRAM_TIMEOUT:-1200}
readonly RESULTS=build/results
passed=0 failed=0 skipped=0
failures=()

suites=()
while [ $# -gt 0 ] && [ "$1" != "--" ]; do suites+=("$1"); shift; done
[ "${1:-}" = "--" ] && shift
readonly GTEST_ARGS=("$@")
[ ${#suites[@]} -eq 0 ] && suites=("${DEFAULT_SUITES[@]}")

count_failure() { # WHAT
  failed=$((failed + 1))
  failures+=("$1")
}

# The end of a long log is what people see first: it says again what went wrong.
indented() {
  tail -n "${1:-12}" | cut -c1-400 | sed 's/^/    /'
}

why_gtest() { # JSON
  grep -B11 '"failure":' "$1" | grep -oE '"(name|failure)": .*' | indented 20
}

# What ran, and how long it took.
step() { # NAME COMMAND…
  local name=$1 began=$SECONDS rc
  shift
  echo "== $name"
  "$@"
  rc=$?
  echo "== $name: $((SECONDS - began)) s"
  return $rc
}

build_for_test() { # PRESET TARGET…
  step "build $*" build "$@" || { count_failure "build of $*"; return 1; }
}

# A GoogleTest program: counts come from its JSON, and a program that dies without one has failed.
run_gtest() { # LABEL PROGRAM
  local label=$1 json="$RESULTS/$1.json" rc tests bad skip
  rm -f "$json"
  mkdir -p "$(dirname "$json")"
  timeout --kill-after=10 "$PROGRAM_TIMEOUT" "$2" --gtest_brief=1 "--gtest_output=json:$json" "${GTEST_ARGS[@]}" < /dev/null
  rc=$?
  if [ ! -s "$json" ]; then
    count_failure "$label ended with code $rc before its tests did (124: it took longer than $PROGRAM_TIMEOUT s)"
    return
  fi
  tests=$(sed -n '1,4s/.*"tests": \([0-9]*\),.*/\1/p' "$json" | head -1)
  bad=$(sed -n '1,4s/.*"failures": \([0-9]*\),.*/\1/p' "$json" | head -1)
  skip=$(grep -c -e '"result": "SKIPPED"' -e '"status": "NOTRUN"' "$json")
  passed=$((passed + tests - bad - skip)) skipped=$((skipped + skip))
  if [ "$bad" -gt 0 ]; then
    failed=$((failed + bad))
    failures+=("$label: $bad of $tests tests"$'\n'"$(why_gtest "$json")")
  elif [ $rc -ne 0 ]; then
    count_failure "$label passed its tests and then ended with code $rc"
  fi
}

# Any other test program: its last line says "N passed, N failed".
run_script() { # LABEL PROGRAM…
  local label=$1 output rc ok bad
  shift
  output=$(mktemp)
  timeout --kill-after=10 "$PROGRAM_TIMEOUT" "$@" < /dev/null 2>&1 | tee "$output"
  rc=${PIPESTATUS[0]}
  if [[ $(tail -n 1 "$output") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
    ok=${BASH_REMATCH[1]} bad=${BASH_REMATCH[2]}
    passed=$((passed + ok)) failed=$((failed + bad))
    [ "$bad" -gt 0 ] && failures+=("$label: $bad of $((ok + bad))"$'\n'"$(indented < "$output")")
    [ "$bad" -eq 0 ] && [ "$rc" -ne 0 ] && count_failure "$label passed its tests and then ended with code $rc"
  else
    count_failure "$label ended with code $rc and no closing line"
  fi
  rm -f "$output"
}

# Executable scripts of a folder under tests/.
run_scripts() { # SUITE
  local script
  for script in tests/"$1"/*.sh tests/"$1"/*.py; do
    if [ -x "$script" ]; then step "$1/$(basename "$script")" run_script "$1/$(basename "$script")" "$script"; fi
  done
}

unit_programs() { # PRESET
  test_programs "$1" | grep -vxE 'system_test|wire_test|sim_test'
}

configure() { # PRESET
  [ -f "build/$1/build.ninja" ] || cmake --preset "$1" > "$RESULTS/cmake-$1.log" 2>&1 ||
    { cat "$RESULTS/cmake-$1.log"; count_failure "cmake --preset $1"; return 1; }
}

run_unit() { # PRESET LABEL [PROGRAM…]
  local preset=$1 label=$2 programs program
  shift 2
  configure "$preset" || return
  programs=("$@")
  [ ${#programs[@]} -eq 0 ] && mapfile -t programs < <(unit_programs "$preset")
  build_for_test "$preset" "${programs[@]}" || return
  for program in "${programs[@]}"; do
    step "$label/$program" run_gtest "$label/$program" "build/$preset/$program"
  done
}

programs_of() { # PRESET ROOM…
  local preset=$1 room
  shift
  for room in "$@"; do unit_programs "$preset" | grep -x "${room}_test"; done
}

# The executor's fakes keep requests that wait for ever at the end of a test, in a cycle with their range: its tests
# are checked for everything but leaks.
suite_asan() {
  local programs
  configure asan || return
  mapfile -t programs < <(programs_of asan "${ASAN_ROOMS[@]}" | grep -vxE 'executor_test|replication_test')
  export ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19 UBSAN_OPTIONS=print_stacktrace=1
  run_unit asan asan "${programs[@]}"
  ASAN_OPTIONS=detect_leaks=0 run_unit asan asan executor_test
  # Searching for planted bugs teaches a sanitizer nothing, and takes it minutes.
  GTEST_FILTER='-*Planted*' run_unit asan asan replication_test
}

suite_tsan() {
  local programs
  configure tsan || return
  mapfile -t programs < <(programs_of tsan "${TSAN_ROOMS[@]}")
  # Neither does the search for planted bugs: see suite_asan.
  GTEST_FILTER='-*Planted*' TSAN_OPTIONS="suppressions=$PWD/tests/support/tsan.supp halt_on_error=1 ${TSAN_OPTIONS:-}" \
    run_unit tsan tsan "${programs[@]}"
}

# Suites that need a whole server: a GoogleTest program if there is one, and the scripts of the folder.
suite_with_server() { # NAME
  local targets=(outlast)
  configure release || return
  if test_programs release | grep -qx "$1_test"; then targets+=("$1_test"); fi
  build_for_test release "${targets[@]}" || return
  if [ ${#targets[@]} -gt 1 ]; then step "$1/$1_test" run_gtest "$1/$1_test" "build/release/$1_test"; fi
  OUTLAST_BINARY="$PWD/build/release/outlast" run_scripts "$1"
}

# With arguments they are the simulator's (--scenario=… --seed=… --histories=…). Without: its own tests, the planted
# bugs among them, and then histories of every scenario until SIM_SECONDS are over.
suite_sim() {
  local program=build/release/outlast_sim
  configure release || return
  if [ ${#GTEST_ARGS[@]} -gt 0 ]; then
    build_for_test release outlast_sim || return
    step sim run_script sim "$program" "${GTEST_ARGS[@]}"
    return
  fi
  build_for_test release outlast_sim sim_test || return
  step sim/sim_test run_gtest sim/sim_test build/release/sim_test
  step sim run_script sim "$program" --seed="${SIM_SEED:-1}" --seconds="${SIM_SECONDS:-60}"
}

run_suite() {
  case "$1" in
    style) step style run_script style scripts/style.sh ;;
    unit) run_unit release unit ;;
    wire | system | faults) suite_with_server "$1" ;;
    sim) suite_sim ;;
    model) run_scripts model ;;
    asan) suite_asan ;;
    tsan) suite_tsan ;;
    fuzz)
      configure asan || return
      step fuzz run_script fuzz scripts/fuzz.sh all "${FUZZ_SECONDS:-10}" ;;
    fast) run_suite style && run_suite unit ;;
    *) count_failure "there is no suite \"$1\": ./dev help lists them" ;;
  esac
}

mkdir -p "$RESULTS"
for suite in "${suites[@]}"; do run_suite "$suite"; done

for what in "${failures[@]}"; do echo "FAILED: $what"; done
[ "$skipped" -gt 0 ] && echo "skipped: $skipped"
[ $((passed + failed)) -eq 0 ] && echo "no test ran"
echo "took $SECONDS s"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
