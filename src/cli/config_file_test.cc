#include "cli/config_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

class ConfigFileTest : public testing::Test {
 protected:
  std::string apply(const std::string& text) {
    auto entries = parse_config(text, "node.toml", options_);
    if (!entries.ok()) return entries.error().message;
    for (ConfigEntry& entry : *entries) assign(*entry.option, std::move(entry.value));
    return "";
  }
  std::string addr_, level_{"info"}, config_;
  bool insecure_{false};
  std::int64_t connections_{500};
  double ratio_{1};
  Duration grace_{0};
  Bytes size_;
  std::vector<std::string> peers_;
  const std::vector<Option> options_{{.name = "--sql-addr", .target = &addr_},
                                     {.name = "--log-level", .target = &level_, .choices = {"info", "debug"}},
                                     {.name = "--insecure", .target = &insecure_},
                                     {.name = "--max-connections", .target = &connections_, .min = 1, .max = 1000},
                                     {.name = "--ratio", .target = &ratio_},
                                     {.name = "--grace", .target = &grace_},
                                     {.name = "--size", .target = &size_},
                                     {.name = "--peers", .target = &peers_},
                                     {.name = "--config", .target = &config_, .in_file = false}};
};

TEST_F(ConfigFileTest, ReadsEveryKindOfValueUnderEitherSpelling) {
  EXPECT_EQ(apply("# a comment\nsql_addr = \"127.0.0.1:1\"\nlog-level = 'debug'\ninsecure = true\n"
                  "max_connections = 7\nratio = 0.25\ngrace = \"1m30s\"\nsize = \"2KiB\"\npeers = [\"a,b\", \"c\"]\n"),
            "");
  EXPECT_EQ(addr_, "127.0.0.1:1");
  EXPECT_EQ(level_, "debug");
  EXPECT_TRUE(insecure_);
  EXPECT_EQ(connections_, 7);
  EXPECT_EQ(ratio_, 0.25);
  EXPECT_EQ(grace_, 90s);
  EXPECT_EQ(size_.value, 2048U);
  EXPECT_EQ(peers_, (std::vector<std::string>{"a,b", "c"}));
}

TEST_F(ConfigFileTest, MistakesNameFileLineAndWhatIsAllowed) {
  EXPECT_EQ(apply("insecure = true\nsql-adr = \"x\"\n"),
            "node.toml:2: there is no setting \"sql-adr\" here; there are sql-addr, log-level, insecure, "
            "max-connections, ratio, grace, size, peers");
  EXPECT_NE(apply("config = \"x\"").find("node.toml:1: there is no setting"), std::string::npos);
  EXPECT_EQ(apply("\nsql-addr = 5\n"), "node.toml:2: sql-addr is a text, such as \"text\"");
  EXPECT_EQ(apply("insecure = \"yes\""), "node.toml:1: insecure is true or false");
  EXPECT_EQ(apply("max-connections = \"7\""), "node.toml:1: max-connections is a whole number");
  EXPECT_EQ(apply("max-connections = 0"), "node.toml:1: max-connections: 0 is not between 1 and 1000");
  EXPECT_EQ(apply("log-level = \"loud\""), "node.toml:1: log-level: \"loud\" is none of info, debug");
  EXPECT_EQ(apply("grace = 8"), "node.toml:1: grace is a time, such as \"8s\"");
  EXPECT_NE(apply("grace = \"8\"").find("node.toml:1: grace: "), std::string::npos);
  EXPECT_EQ(apply("peers = [1]"), "node.toml:1: peers is a list of texts, such as [\"a\", \"b\"]");
  EXPECT_EQ(apply("[node]\nsql-addr = \"x\"").substr(0, 12), "node.toml:1:");
  EXPECT_EQ(apply("\n\nsql-addr = ").substr(0, 30), "node.toml:3: this is not TOML:");
  EXPECT_NE(apply("sql-addr = \"a\"\nsql_addr = \"b\"").find("set twice"), std::string::npos);
}

/// A command of its own, through the real command line.
class ConfigOnCommandLineTest : public testing::Test {
 protected:
  void SetUp() override { std::ofstream(file_) << "store = \"/from/file\"\ncount = 5\n"; }
  void TearDown() override { std::filesystem::remove(file_); }
  int parse(std::vector<std::string> words) {
    std::vector<const char*> argv{"outlast", "go"};
    for (const std::string& word : words) argv.push_back(word.c_str());
    return run_command_line(static_cast<int>(argv.size()), argv.data(), commands_);
  }
  const std::string file_ = testing::TempDir() + "/outlast_config_" + std::to_string(::getpid()) + ".toml";
  std::string store_, config_;
  std::int64_t count_{1};
  std::vector<std::string> given_;
  Commands commands_{{.path = "go",
                      .summary = "Go",
                      .options = {{.name = "--store", .target = &store_, .required = true},
                                  {.name = "--count", .target = &count_, .max = 9},
                                  {.name = "--config", .target = &config_, .in_file = false}},
                      .run = [] { return kDone; },
                      .config = &config_,
                      .given = &given_}};
};

TEST_F(ConfigOnCommandLineTest, TheFileFillsWhatTheCommandLineDoesNotSay) {
  EXPECT_EQ(parse({"--config=" + file_}), kDone);
  EXPECT_EQ(store_, "/from/file");
  EXPECT_EQ(count_, 5);
  EXPECT_EQ(given_, std::vector<std::string>{"--config=" + file_});
}

TEST_F(ConfigOnCommandLineTest, TheCommandLineWinsWhereverItStands) {
  EXPECT_EQ(parse({"--count=2", "--config", file_, "--store=/mine"}), kDone);
  EXPECT_EQ(store_, "/mine");
  EXPECT_EQ(count_, 2);
}

TEST_F(ConfigOnCommandLineTest, ReadsItAgainWithoutRunning) {
  const std::string config = "--config=" + file_;
  const char* const argv[] = {"outlast", "go", config.c_str()};
  Command command = commands_[0];
  command.run = []() -> int { throw std::runtime_error("run"); };
  ASSERT_TRUE(read_command_line(3, argv, command).ok());
  EXPECT_EQ(count_, 5);
  std::ofstream(file_) << "count = 12\n";
  const auto again = read_command_line(3, argv, command);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().message, file_ + ":1: count: 12 is not between -9223372036854775808 and 9");
}

TEST_F(ConfigOnCommandLineTest, WhatIsRequiredMayStandInEither) {
  EXPECT_EQ(parse({"--count=2"}), kUsage);
  EXPECT_EQ(parse({"--store=/mine"}), kDone);
  EXPECT_EQ(parse({"--store=/mine", "--config=" + file_ + ".missing"}), kUsage);
  std::ofstream(file_) << "store = 5\n";
  EXPECT_EQ(parse({"--store=/mine", "--config=" + file_}), kUsage) << "a mistake is one even where it changes nothing";
}

}  // namespace
}  // namespace outlast::cli
