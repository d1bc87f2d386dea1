// Restarts of a node with inputs in which something goes wrong: the failures F1 to F4 that Fluentd has, and more of
// their kind. docs/tests.md has the list.
#include <gmock/gmock.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "cli/http_get.h"
#include "ingest/input/udp_pace.h"
#include "server/restart_status.h"
#include "support/http_sender.h"
#include "support/ingest_nodes.h"
#include "support/record_sender.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
namespace json = boost::json;
using handover::HandoverState;
using server::text_of;
using testing_support::HttpSender;
using testing_support::RecordSender;
using testing_support::Role;

class IngestFailures : public testing_support::IngestNodes {
 protected:
  std::string inputs() const {
    return input("syslog", "syslog", "udp://127.0.0.1") + input("tcp", "tcp", "tcp://127.0.0.1") +
           input("http", "http", "http://127.0.0.1");
  }
  /// A table sink whose buffer outlives processes.
  std::string kept_sink() const {
    return table_sink() + "type = \"file\"\npath = \"" + dir() + "/buffer\"\nfsync = \"always\"\n";
  }
  /// This restart changes nothing, for a reason that has these words.
  void expect_unchanged(const std::string& config, const std::string& wanted, const std::string& words) {
    configure(config);
    const pid_t before = worker();
    const json::object told = restart();
    EXPECT_EQ(outcome(told), wanted) << json::serialize(told);
    EXPECT_THAT(text_of(told, "why"), testing::HasSubstr(words));
    EXPECT_EQ(worker(), before);
    ASSERT_NO_FATAL_FAILURE(expect_nobody_left_over());
  }
};

/// F1: Fluentd's new worker stays in source-only mode for ever when it starts more slowly than a timer runs.
TEST_F(IngestFailures, HoweverSlowAStepIsTheNewWorkerStoresInTheEnd) {
  ASSERT_NO_FATAL_FAILURE(start_with(inputs() + table_sink()));
  RecordSender datagrams(port("syslog"), RecordSender::Over::kUdp), stream(port("tcp"), RecordSender::Over::kTcp);
  const std::pair<const char*, HandoverState> slow[] = {
      {"new", HandoverState::kStandby},         {"new", HandoverState::kSessions},
      {"old", HandoverState::kSessions},        {"old", HandoverState::kStorageReleased},
      {"new", HandoverState::kStorageReleased}, {"new", HandoverState::kOwned},
      {"supervisor", HandoverState::kOwned}};
  for (const auto& [role, state] : slow) {
    auto held = hold(role, state);
    const std::uint64_t id = begin_restart();
    ASSERT_NO_FATAL_FAILURE(wait_reached(*held));
    const long before = datagrams.sent();
    wait("more records", [&] { return datagrams.sent() > before + 1000; });
    held->release();
    expect_completed(receipt(id));
    wait("what the new worker stores", [&] {
      const json::object sink = sink_status("table");
      return !sink.empty() && sink.at("written").at("records").to_number<long>() > 0;
    });
  }
  const long udp = datagrams.stop(), tcp = stream.stop();
  EXPECT_FALSE(stream.broken());
  expect_stored("syslog", udp);
  expect_stored("tcp", tcp);
}

/// F2: Fluentd has ended the old process before it knows whether the outputs of the new one start.
TEST_F(IngestFailures, WhatCannotStartLeavesTheOldOneAsItWas) {
  ASSERT_NO_FATAL_FAILURE(start_with(inputs() + table_sink()));
  std::ofstream(dir() + "/file") << "no directory";
  RecordSender datagrams(port("syslog"), RecordSender::Over::kUdp), stream(port("tcp"), RecordSender::Over::kTcp);
  const std::string nowhere = dir() + "/file/buffer";
  expect_unchanged(inputs() + table_sink() + "type = \"file\"\npath = \"" + nowhere + "\"\n", "rolled_back", nowhere);
  const std::string taken = "127.0.0.1:" + std::to_string(port("syslog"));
  expect_unchanged(inputs() + "[[input]]\ntype = \"udp\"\nlisten = \"udp://" + taken + "\"\n" + table_sink(), "refused",
                   taken);
  configure(inputs() + table_sink());
  expect_completed(restart());
  const long udp = datagrams.stop(), tcp = stream.stop();
  EXPECT_FALSE(stream.broken());
  expect_stored("syslog", udp);
  expect_stored("tcp", tcp);
}

/// A sink that only fails when it is written to keeps nobody from a restart: its records wait.
TEST_F(IngestFailures, AFileThatCannotBeMadeYetLosesNothing) {
  const std::string sink = "[[sink]]\ntype = \"file\"\nmatch = \"tcp\"\npath = \"" + dir() +
                           "/file/records\"\n[sink.buffer]\nflush_interval = \"50ms\"\nretry_wait = \"100ms\"\n";
  std::ofstream(dir() + "/file") << "no directory";
  ASSERT_NO_FATAL_FAILURE(start_with(inputs() + sink));
  RecordSender stream(port("tcp"), RecordSender::Over::kTcp);
  for (int round = 0; round < 2; ++round) {
    wait("a failure", [&] {
      const json::object status = sink_status("file");
      return !status.empty() && text_of(status, "last_error").find(dir() + "/file/records") != std::string::npos;
    });
    if (round == 0) expect_completed(restart());
  }
  fs::remove(dir() + "/file");
  const long sent = stream.stop();
  EXPECT_FALSE(stream.broken());
  expect_all_once("the file", sent, [&] {
    std::ifstream in(dir() + "/file/records");
    return testing_support::numbers_in(std::string((std::istreambuf_iterator<char>(in)), {}))["n"];
  });
}

/// F3: after a `kill -9` of the new process Fluentd takes no restart any more.
TEST_F(IngestFailures, ANewWorkerThatIsKilledInAnyStateLosesNoAcknowledgedRecord) {
  ASSERT_NO_FATAL_FAILURE(start_with(inputs() + kept_sink()));
  RecordSender datagrams(port("syslog"), RecordSender::Over::kUdp);
  HttpSender posts(port("http"));
  const std::pair<const char*, HandoverState> states[] = {{"new", HandoverState::kStandby},
                                                          {"new", HandoverState::kSessions},
                                                          {"new", HandoverState::kStorageReleased},
                                                          {"new", HandoverState::kOwned}};
  for (const auto& [role, state] : states) {
    auto held = hold(role, state);
    const std::uint64_t id = begin_restart();
    ASSERT_NO_FATAL_FAILURE(wait_reached(*held));
    const long before = datagrams.sent();
    wait("more records", [&] { return datagrams.sent() > before + 500; });
    ASSERT_NO_FATAL_FAILURE(strike(process(Role::kNew), SIGKILL));
    held->release();
    EXPECT_NE(outcome(receipt(id)), "no receipt");
    ASSERT_NO_FATAL_FAILURE(expect_nobody_left_over());
    expect_completed(restart());
  }
  posts.stop();
  const long sent = datagrams.stop();
  EXPECT_FALSE(datagrams.broken()) << "the sockets live in the supervisor";
  const auto& acknowledged = posts.acknowledged();
  std::vector<long> there;
  wait("every acknowledged record", [&] {
    there = stored("http")["n"];
    std::ranges::sort(there);
    return std::ranges::includes(there, acknowledged);
  });
  EXPECT_TRUE(std::ranges::adjacent_find(there) == there.end()) << "a record is there twice";
  there = stored("syslog")["n"];
  std::ranges::sort(there);
  EXPECT_TRUE(std::ranges::adjacent_find(there) == there.end()) << "a record is there twice";
  // Killed while they read: the last two. Each had at most one batch that was in no file yet.
  EXPECT_GE(static_cast<long>(there.size()), sent - 2 * static_cast<long>(ingest::UdpPace::kBatchMax));
}

/// F4: Fluentd answers {"ok":true} and restarts nothing.
TEST_F(IngestFailures, WhoeverAsksForARestartIsToldThatTheConfigurationIsBroken) {
  ASSERT_NO_FATAL_FAILURE(start_with(inputs() + table_sink()));
  RecordSender datagrams(port("syslog"), RecordSender::Over::kUdp), stream(port("tcp"), RecordSender::Over::kTcp);
  const std::string where = dir() + "/node.toml:1: type";
  configure("input = [{ type = \"carrier\" }]\n" + table_sink());
  const std::string http = cluster().facts(0)->http_addr;
  const auto answer = cli::http_post(http, "/api/processes.zeroDowntimeRestart?wait=1", 30s);
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->status, 409);
  EXPECT_THAT(answer->body, testing::AllOf(testing::HasSubstr("refused"), testing::HasSubstr(where)));
  const auto said = testing_support::run_outlast("restart --wait --store=" + cluster().store(0), 60);
  EXPECT_EQ(said.code, 1);
  EXPECT_THAT(said.output, testing::HasSubstr(where));
  ::kill(supervisor(), SIGUSR2);
  EXPECT_EQ(outcome(receipt(3)), "refused");
  configure(inputs() + table_sink());
  expect_completed(restart());
  const long udp = datagrams.stop(), tcp = stream.stop();
  EXPECT_FALSE(stream.broken());
  expect_stored("syslog", udp);
  expect_stored("tcp", tcp);
}

}  // namespace
}  // namespace outlast
