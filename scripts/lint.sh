#!/usr/bin/env bash
# clang-tidy over our sources, then the style checks. Called by `./dev lint`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/build.sh
build release  # generated headers have to be there
run-clang-tidy-19 -quiet -p build/release "^$PWD/(src|tests)/.*\.cc$"
scripts/style.sh
