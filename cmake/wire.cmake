# Wire tests: conversations byte by byte against SqlServer over a cluster of one process, PostgreSQL 15 as the oracle
# where it is installed, and real clients (tests/wire/clients.sh).
add_library(outlast_fake_cluster STATIC ${CMAKE_SOURCE_DIR}/tests/support/fake_cluster.cc
  ${CMAKE_SOURCE_DIR}/tests/support/fake_session.cc ${CMAKE_SOURCE_DIR}/tests/support/fake_functions.cc
  ${CMAKE_SOURCE_DIR}/tests/support/fake_partitions.cc)
target_include_directories(outlast_fake_cluster PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(outlast_fake_cluster PUBLIC outlast_sql)

file(GLOB wire_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/wire/*.cc)
add_executable(wire_test ${wire_tests})
target_link_libraries(wire_test PRIVATE outlast_fake_cluster outlast_test_main)
target_compile_definitions(wire_test PRIVATE OUTLAST_WIRE_DIR="${CMAKE_SOURCE_DIR}/tests/wire")

# Loads: the coordinator over ranges that are SQLite files, killed at every step.
file(GLOB load_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/loads/*.cc)
add_executable(load_test ${load_tests})
target_link_libraries(load_test PRIVATE outlast_fake_cluster outlast_test_main)
