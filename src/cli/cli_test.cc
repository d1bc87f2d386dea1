#include <gtest/gtest.h>

#include "cli/command.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

class CommandLineTest : public testing::Test {
 protected:
  int parse(std::vector<const char*> words) {
    words.insert(words.begin(), "outlast");
    return run_command_line(static_cast<int>(words.size()), words.data(), commands_);
  }
  std::string text_{"table"};
  bool flag_{false};
  std::int64_t number_{3};
  double ratio_{0.5};
  Duration wait_{10s};
  Bytes size_{1024};
  std::vector<std::string> urls_, ids_, whole_;
  int runs_{0};
  Commands commands_{{.path = "node status",
                      .summary = "Show nodes",
                      .options = {{.name = "--format", .target = &text_, .choices = {"table", "json"}},
                                  {.name = "--all", .target = &flag_},
                                  {.name = "--count", .target = &number_, .min = 1, .max = 9},
                                  {.name = "--ratio", .target = &ratio_},
                                  {.name = "--wait", .target = &wait_},
                                  {.name = "--size", .target = &size_},
                                  {.name = "--url", .target = &urls_},
                                  {.name = "--env", .target = &whole_, .whole = true},
                                  {.name = "ID", .target = &ids_}},
                      .run = [this] { return ++runs_, kFailed; }},
                     {.path = "stop",
                      .summary = "Stop a node",
                      .options = {{.name = "--store", .target = &text_, .required = true}},
                      .run = [] { return kDone; }}};
};

TEST_F(CommandLineTest, ReadsEveryKindOfValueAndReturnsTheCommandsOwnCode) {
  EXPECT_EQ(parse({"node", "status", "--format=json", "--all", "--count", "7", "--ratio=0.25", "--wait=1m30s",
                   "--size=2KiB", "--url=a,b", "--url=c", "--env=X=1,2", "--env=Y=3", "--", "1", "-2"}),
            kFailed);
  EXPECT_EQ(runs_, 1);
  EXPECT_EQ(text_, "json");
  EXPECT_TRUE(flag_);
  EXPECT_EQ(number_, 7);
  EXPECT_EQ(ratio_, 0.25);
  EXPECT_EQ(wait_, 90s);
  EXPECT_EQ(size_.value, 2048U);
  EXPECT_EQ(urls_, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(whole_, (std::vector<std::string>{"X=1,2", "Y=3"}));
  EXPECT_EQ(ids_, (std::vector<std::string>{"1", "-2"}));
}

TEST_F(CommandLineTest, KeepsDefaultsThatNobodyChanged) {
  EXPECT_EQ(parse({"node", "status"}), kFailed);
  EXPECT_EQ(text_, "table");
  EXPECT_EQ(number_, 3);
  EXPECT_EQ(wait_, 10s);
}

TEST_F(CommandLineTest, RefusesWhatMakesNoSenseAndRunsNothing) {
  for (const std::vector<const char*>& words : std::vector<std::vector<const char*>>{{"nope"},
                                                                                     {"node"},
                                                                                     {"stop"},
                                                                                     {"node", "status", "--format=xml"},
                                                                                     {"node", "status", "--count=10"},
                                                                                     {"node", "status", "--count=x"},
                                                                                     {"node", "status", "--wait=8"},
                                                                                     {"node", "status", "--ratio=x"},
                                                                                     {"node", "status", "--size=8 MeB"},
                                                                                     {"node", "status", "--nope"}})
    EXPECT_EQ(parse(words), kUsage) << words.back();
  EXPECT_EQ(runs_, 0);
}

TEST_F(CommandLineTest, HelpIsNotAnError) {
  EXPECT_EQ(parse({}), kDone);
  EXPECT_EQ(parse({"--help"}), kDone);
  EXPECT_EQ(parse({"node", "status", "--help"}), kDone);
  EXPECT_EQ(runs_, 0);
}

TEST(AllCommands, HaveASummaryAndSomethingToRun) {
  for (const Command& command : all_commands()) {
    EXPECT_FALSE(command.summary.empty()) << command.path;
    EXPECT_TRUE(command.run) << command.path;
    for (const Option& option : command.options) EXPECT_FALSE(option.help.empty()) << command.path << option.name;
  }
}

/// Whether the words make sense to the command of this path; nothing is run.
bool reads(const std::string& path, std::vector<const char*> words) {
  for (const Command& command : all_commands()) {
    if (command.path != path) continue;
    words.insert(words.begin(), "outlast");
    return read_command_line(static_cast<int>(words.size()), words.data(), command).ok();
  }
  ADD_FAILURE() << "there is no command " << path;
  return false;
}

TEST(AllCommands, ReadTheCommandLinesThatTheDocumentationShows) {
  EXPECT_TRUE(reads("node decommission", {"node", "decommission", "4", "5", "--host=10.0.0.1:26258"}));
  EXPECT_TRUE(reads("node decommission", {"node", "decommission", "--self", "--checks=strict", "--wait=none"}));
  EXPECT_TRUE(reads("node decommission", {"node", "decommission", "4", "--dry-run", "--checks=skip", "--format=json"}));
  EXPECT_FALSE(reads("node decommission", {"node", "decommission", "4", "--checks=maybe"}));
  EXPECT_FALSE(reads("node decommission", {"node", "decommission", "4", "--wait=live"}));
  EXPECT_TRUE(reads("node recommission", {"node", "recommission", "4", "5"}));
  EXPECT_TRUE(reads("node status", {"node", "status", "--decommission", "--all", "--format=csv"}));
  EXPECT_TRUE(reads("node maintenance", {"node", "maintenance", "2", "--for=30m"}));
  EXPECT_TRUE(reads("node maintenance", {"node", "maintenance", "2", "--for=0"}));
  EXPECT_FALSE(reads("node maintenance", {"node", "maintenance", "2"})) << "nobody knows for how long";
  EXPECT_FALSE(reads("node maintenance", {"node", "maintenance", "0", "--for=30m"}));
  EXPECT_TRUE(reads("range ls", {"range", "ls", "--node=4", "--under-replicated", "--trouble"}));
  EXPECT_TRUE(reads("task ls", {"task", "ls", "--format=csv"}));
  for (const char* word : {"show", "pause", "resume", "cancel"}) {
    EXPECT_TRUE(reads(std::string("task ") + word, {"task", word, "7", "--format=json"}));
    EXPECT_FALSE(reads(std::string("task ") + word, {"task", word})) << "no number";
  }
}

}  // namespace
}  // namespace outlast::cli
