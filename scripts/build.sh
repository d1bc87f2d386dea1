# Sourced by ./dev and the scripts beside it.

# build PRESET [TARGET…]: configures once, then builds.
build() {
  local preset=$1
  shift
  if [ ! -f "build/$preset/build.ninja" ]; then cmake --preset "$preset" > "build-$preset.log" 2>&1 || {
    cat "build-$preset.log" >&2
    rm -f "build-$preset.log"
    echo "./dev: CMake could not configure build/$preset" >&2
    return 1
  }; fi
  rm -f "build-$preset.log"
  ninja -C "build/$preset" "$@"
}

# test_programs PRESET: names of the room's test programs in a configured build.
test_programs() {
  ninja -C "build/$1" -t targets all | sed -n 's/^\([a-z0-9_]*_test\): CXX_EXECUTABLE_LINKER.*/\1/p' | sort
}
