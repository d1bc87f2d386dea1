# Benchmarks that need no running node: bench/NAME.cc becomes NAME_bench, and bench/NAME.py runs it (./dev bench NAME).
file(GLOB bench_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bench/*.cc)
foreach(source ${bench_sources})
  get_filename_component(name ${source} NAME_WE)
  add_executable(${name}_bench EXCLUDE_FROM_ALL ${source})
  target_link_libraries(${name}_bench PRIVATE outlast_lifecycle outlast_ingest benchmark::benchmark)
endforeach()
