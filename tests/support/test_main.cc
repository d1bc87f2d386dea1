// main() of every GoogleTest program: one place to silence the log unless OUTLAST_TEST_LOG asks for it.
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <cstdlib>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  std::signal(SIGPIPE, SIG_IGN);
  const char* level = std::getenv("OUTLAST_TEST_LOG");
  spdlog::set_level(level != nullptr ? spdlog::level::from_str(level) : spdlog::level::off);
  return RUN_ALL_TESTS();
}
