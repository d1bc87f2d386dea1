#!/usr/bin/env bash
# What every commit has to look like, checked without compiling. Ends with "N passed, N failed".
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
passed=0 failed=0
check() { # WHAT COMMAND…
  local what=$1
  shift
  if "$@"; then passed=$((passed + 1)); else
    failed=$((failed + 1))
    echo "style: $what"
  fi
}
well_formatted() {
  local wrong
  wrong=$(clang-format-19 --dry-run "$@" 2>&1 | sed -n 's/^\([^ :]*\):[0-9].*clang-formatted.*/  \1/p' | sort -u)
  [ -z "$wrong" ] || { echo "$wrong"; return 1; }
}
mapfile -t files < <(git ls-files --cached --others --exclude-standard '*.h' '*.cc')
check "an include goes against the arrows of cmake/rooms.cmake (docs/architecture.md)" scripts/check_arrows.py
check "a file is not formatted: ./dev fmt" well_formatted "${files[@]}"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
