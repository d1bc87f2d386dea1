# The simulator of whole clusters (tests/sim/README.md): a library, the program by hand, and its tests. Of the server it
# takes what a node knows of its cluster, and none of the sockets around it.
file(GLOB sim_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/sim/*.cc)
file(GLOB sim_tests CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/sim/*_test.cc)
list(REMOVE_ITEM sim_sources ${sim_tests} ${CMAKE_SOURCE_DIR}/tests/sim/main.cc)
add_library(outlast_simulator STATIC ${sim_sources} ${CMAKE_SOURCE_DIR}/src/server/cluster_state.cc
  ${CMAKE_SOURCE_DIR}/src/server/range_status.cc)
# One compilation for most of it: the headers of all rooms are most of the work.
set_target_properties(outlast_simulator PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 20)
set_source_files_properties(${CMAKE_SOURCE_DIR}/tests/sim/linearizability.cc ${CMAKE_SOURCE_DIR}/src/server/cluster_state.cc
  ${CMAKE_SOURCE_DIR}/src/server/range_status.cc ${CMAKE_SOURCE_DIR}/tests/sim/membership.cc
  ${CMAKE_SOURCE_DIR}/tests/sim/membership_check.cc ${CMAKE_SOURCE_DIR}/tests/sim/membership_store.cc
  ${CMAKE_SOURCE_DIR}/tests/sim/membership_world.cc
  PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
target_include_directories(outlast_simulator PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(outlast_simulator PUBLIC outlast_fragments outlast_gateway outlast_tasks outlast_proto_peer)
add_executable(outlast_sim ${CMAKE_SOURCE_DIR}/tests/sim/main.cc)
target_link_libraries(outlast_sim PRIVATE outlast_simulator CLI11::CLI11)
add_executable(sim_test ${sim_tests})
target_link_libraries(sim_test PRIVATE outlast_simulator outlast_test_main)
