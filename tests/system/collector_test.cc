// Collectors (`--roles=none`) and source-only as real processes: no record is lost or doubled, whatever restarts.
#include <algorithm>
#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <future>
#include <numeric>

#include "cli/http_get.h"
#include "support/record_sender.h"
#include "support/restarts.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace json = boost::json;
using handover::HandoverState;
using testing_support::Finished;
using testing_support::RecordSender;
using testing_support::RestartsTest;
using testing_support::run_outlast;
using Over = RecordSender::Over;

/// Inputs over UDP and TCP, each with a sink of its own so that the order in it is the order of one sender. In the text
/// of the buffers {name} is the input's.
std::string config(const std::string& dir, const std::string& buffer = "flush_interval = \"50ms\"") {
  std::string text;
  for (const std::string name : {"udp", "tcp"}) {
    std::string own = buffer;
    for (std::size_t at; (at = own.find("{name}")) != std::string::npos;) own.replace(at, 6, name);
    text += "[[input]]\ntype = \"" + name + "\"\nlisten = \"" + name + "://127.0.0.1:0\"\n[[sink]]\ntype = \"file\"\n" +
            "name = \"of-" + name + "\"\nmatch = \"" + name + "\"\npath = \"" + dir + "/" + name + ".log\"\n" +
            "[sink.buffer]\n" + own + "\n";
  }
  return text;
}

/// The numbers in a file of records, in its order.
std::vector<long> numbers_in(const std::string& path) {
  std::ifstream in(path);
  std::vector<long> numbers;
  for (std::string line; std::getline(in, line);)
    if (const std::size_t at = line.rfind("n="); at != std::string::npos)
      numbers.push_back(std::stol(line.substr(at + 2)));
  return numbers;
}

json::object ingest_status(const cli::LocalCluster& nodes, int node = 0) {
  const auto facts = nodes.facts(node);
  const auto answer =
      facts.ok() ? cli::http_get(facts->http_addr, "/api/ingest", 5s) : Result<cli::HttpAnswer>(facts.error());
  boost::system::error_code error;
  const json::value parsed = answer.ok() ? json::parse(answer->body, error) : json::value();
  return parsed.is_object() ? parsed.as_object() : json::object();
}

int port_of(const cli::LocalCluster& nodes, const std::string& input) {
  const json::object status = ingest_status(nodes);
  for (const json::value& one : status.at("inputs").as_array())
    if (one.at("name").as_string() == input) return one.at("port").to_number<int>();
  return 0;
}

class CollectorTest : public RestartsTest {
 protected:
  void write_config(const std::string& text) { std::ofstream(config_) << text; }
  void start(std::vector<std::string> words = {}) {
    words.push_back("--config=" + config_);
    use_collectors(std::move(words));
    start_again();
  }
  void start_again() {
    const auto started = cluster().start(0);
    ASSERT_TRUE(started.ok()) << started.error().message;
    ASSERT_NO_FATAL_FAILURE(wait_ready(0));
  }
  int port(const std::string& input) { return port_of(cluster(), input); }
  bool source_only() { return ingest_status(cluster()).at("source_only").as_bool(); }
  std::string log_of(const std::string& input) const { return dir() + "/" + input + ".log"; }
  /// Every record that was sent is there, once, and in its order.
  void expect_all(const std::string& input, long sent) {
    std::vector<long> wanted(static_cast<std::size_t>(sent));
    std::iota(wanted.begin(), wanted.end(), 0);
    std::vector<long> there;
    const auto waited = cluster().wait_until("the last record", 30s, [&] {
      there = numbers_in(log_of(input));
      return there.size() >= wanted.size();
    });
    EXPECT_TRUE(waited.ok()) << input << ": " << there.size() << " records of " << sent;
    EXPECT_TRUE(there == wanted) << input << ": lost, doubled or out of order";
  }
  const std::string config_ = dir() + "/collector.toml";
};

TEST_F(CollectorTest, RestartsLoseNoRecordDoubleNoneAndKeepTheOrder) {
  write_config(config(dir()));
  ASSERT_NO_FATAL_FAILURE(start());
  RecordSender datagrams(port("udp"), Over::kUdp), stream(port("tcp"), Over::kTcp);
  for (int i = 0; i < 6; ++i) {
    const json::object receipt = restart();
    EXPECT_EQ(outcome(receipt), "completed") << json::serialize(receipt);
    EXPECT_EQ(receipt.at("inputs").at("kernel_drops").to_number<int>(), 0);
    EXPECT_EQ(receipt.at("inputs").at("taken_over").to_number<int>(), 2);
  }
  const long udp = datagrams.stop(), tcp = stream.stop();
  EXPECT_FALSE(stream.broken());
  expect_all("udp", udp);
  expect_all("tcp", tcp);
  expect_nobody_left_over();
}

TEST_F(CollectorTest, AKilledWorkerLeavesTheSocketToTheNextOneAndDoublesNothing) {
  write_config(config(dir(), "type = \"file\"\npath = \"" + dir() + "/buffer-{name}\"\nflush_interval = \"50ms\""));
  ASSERT_NO_FATAL_FAILURE(start());
  RecordSender datagrams(port("udp"), Over::kUdp);
  constexpr int kKills = 3;
  for (int i = 0; i < kKills; ++i) {
    const auto killed = cluster().kill_worker(0);
    ASSERT_TRUE(killed.ok());
    ASSERT_NO_FATAL_FAILURE(wait_ready(0, *killed));
  }
  const long sent = datagrams.stop();
  EXPECT_FALSE(datagrams.broken());
  std::vector<long> there;
  const auto waited = cluster().wait_until("the last record", 30s, [&] {
    there = numbers_in(log_of("udp"));
    return std::ranges::find(there, sent - 1) != there.end();
  });
  EXPECT_TRUE(waited.ok());
  EXPECT_EQ(std::set<long>(there.begin(), there.end()).size(), there.size()) << "nothing twice";
  constexpr long kReadAtOnce = 1024;  // what a worker may have had in its hands
  EXPECT_GE(static_cast<long>(there.size()), sent - kKills * kReadAtOnce);
}

TEST_F(CollectorTest, AKilledSupervisorIsFollowedByOneThatAdoptsTheWorkerAndItsSockets) {
  write_config(config(dir()));
  ASSERT_NO_FATAL_FAILURE(start());
  RecordSender datagrams(port("udp"), Over::kUdp), stream(port("tcp"), Over::kTcp);
  const pid_t before = worker();
  ASSERT_NO_FATAL_FAILURE(strike(supervisor(), SIGKILL));
  wait("the end of the supervisor", [this] { return !cluster().running(0); });
  ASSERT_NO_FATAL_FAILURE(start_again());
  ASSERT_NO_FATAL_FAILURE(wait("the adoption", [this] { return facts_name(supervisor()); }));
  EXPECT_EQ(worker(), before);
  EXPECT_EQ(outcome(restart()), "completed");
  const long udp = datagrams.stop(), tcp = stream.stop();
  EXPECT_FALSE(stream.broken());
  expect_all("udp", udp);
  expect_all("tcp", tcp);
}

TEST_F(CollectorTest, WhenTheNewWorkerDiesTheOldOneReadsAgain) {
  write_config(config(dir()));
  ASSERT_NO_FATAL_FAILURE(start());
  RecordSender datagrams(port("udp"), Over::kUdp);
  const auto held = hold("old", HandoverState::kSessions);
  const std::uint64_t id = begin_restart();
  ASSERT_NO_FATAL_FAILURE(wait_reached(*held));
  ASSERT_NO_FATAL_FAILURE(strike(process(testing_support::Role::kNew), SIGKILL));
  held->release();
  // Its sockets may close after the old one has looked: then the next new worker goes on, or one that is started anew.
  const std::string how = outcome(receipt(id));
  EXPECT_TRUE(how == "rolled_back" || how == "recovered") << how;
  expect_all("udp", datagrams.stop());
  EXPECT_EQ(outcome(restart()), "completed") << "and the next time it works";
}

TEST_F(CollectorTest, StopStoresWhatMemoryHoldsAndAFileBufferIsForTheNextStart) {
  std::string text = config(dir(), "flush_interval = \"1h\"");
  text += "type = \"file\"\nflush_at_shutdown = false\npath = \"" + dir() + "/buffer\"\n";  // of the last sink: tcp
  write_config(text);
  ASSERT_NO_FATAL_FAILURE(start());
  RecordSender datagrams(port("udp"), Over::kUdp), stream(port("tcp"), Over::kTcp);
  const auto taken = [this](std::size_t input) {
    return ingest_status(cluster()).at("inputs").as_array().at(input).at("records").to_number<long>();
  };
  wait("records", [&] { return taken(0) > 100 && taken(1) > 100; });
  const long udp = datagrams.stop(), tcp = stream.stop();
  wait("all records", [&] { return taken(0) == udp && taken(1) == tcp; });
  auto stop = std::async(std::launch::async, [this] { return run_outlast("stop --store=" + cluster().store(0), 30); });
  const auto exited = cluster().wait_exit(0, 30s);
  EXPECT_TRUE(exited.ok() && *exited == 0);
  const Finished stopped = stop.get();
  EXPECT_EQ(stopped.code, 0) << stopped.output;
  expect_all("udp", udp);
  EXPECT_TRUE(numbers_in(log_of("tcp")).empty());
  write_config(config(dir()) + "type = \"file\"\npath = \"" + dir() + "/buffer\"\n");
  ASSERT_NO_FATAL_FAILURE(start_again());
  expect_all("tcp", tcp);
}

TEST_F(CollectorTest, ABrokenConfigurationRefusesARestartAndNothingElse) {
  write_config(config(dir()));
  ASSERT_NO_FATAL_FAILURE(start());
  RecordSender datagrams(port("udp"), Over::kUdp);
  write_config(config(dir()) +
               "[[sink]]\ntype = \"table\"\nname = \"logs\"\ndatabase = \"defaultdb\"\ntable = \"logs\"\n");
  const json::object refused = restart();
  EXPECT_EQ(outcome(refused), "refused");
  EXPECT_NE(json::serialize(refused).find("has no database"), std::string::npos) << json::serialize(refused);
  write_config("roles = \"frontend,backend,compute\"\nmeta = \"embedded:" + dir() + "/meta\"\n" + config(dir()));
  EXPECT_EQ(outcome(restart()), "refused") << "the command line says none";
  const auto killed = cluster().kill_worker(0);
  ASSERT_TRUE(killed.ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(0, *killed));
  write_config(config(dir()));
  EXPECT_EQ(outcome(restart()), "completed");
}

TEST_F(CollectorTest, WhatACollectorCannotDoIsASentence) {
  const auto check = [this](const std::string& words) {
    return run_outlast("start --check --store=" + dir() + "/c " + words, 30);
  };
  const auto expect_refused = [](const Finished& finished, const std::string& sentence) {
    EXPECT_EQ(finished.code, 2);
    EXPECT_NE(finished.output.find(sentence), std::string::npos) << finished.output;
  };
  write_config(config(dir()) +
               "[[sink]]\ntype = \"table\"\nname = \"logs\"\ndatabase = \"defaultdb\"\ntable = \"logs\"\n");
  expect_refused(check("--roles=none --config=" + config_), config_ + ": the sink \"logs\" stores into a table");
  expect_refused(
      run_outlast("start --roles=none --http-addr=127.0.0.1:0 --store=" + dir() + "/c --config=" + config_, 30),
      "the sink \"logs\" stores into a table");
  write_config(config(dir()));
  EXPECT_EQ(check("--roles=none --config=" + config_).code, 0);
  expect_refused(check("--roles=none"), "would have nothing to do");
  expect_refused(check("--roles=none --meta=embedded:/x --config=" + config_), "leave --meta");
  expect_refused(check("--roles=leader --meta=embedded:/x"), "\"leader\" is no list of roles");
  expect_refused(check("--config=" + config_), "--meta is required");
}

TEST_F(CollectorTest, ForwardsToAnotherThroughRestartsOfBoth) {
  use_collectors({"--config=" + config_});
  const std::string far = dir() + "/far.toml";
  std::ofstream(far) << "[[input]]\ntype = \"http\"\nlisten = \"http://127.0.0.1:0\"\nack = \"buffered\"\n[[sink]]\n"
                     << "type = \"file\"\nmatch = \"**\"\npath = \"" << log_of("far") << "\"\n"
                     << "[sink.buffer]\nflush_interval = \"50ms\"\n";
  std::filesystem::create_directory(dir() + "/far");
  cli::LocalCluster second(
      {.binary = OUTLAST_BINARY, .dir = dir() + "/far", .collectors = true, .start_args = {"--config=" + far}});
  ASSERT_TRUE(second.start(0).ok());
  ASSERT_TRUE(second.wait_ready(0, 60s).ok());
  write_config(
      "[[input]]\ntype = \"tcp\"\nlisten = \"tcp://127.0.0.1:0\"\n[[sink]]\ntype = \"forward\"\nmatch = \"**\"\n"
      "url = \"http://127.0.0.1:" +
      std::to_string(port_of(second, "http")) +
      "/\"\n[sink.buffer]\nflush_interval = \"50ms\"\nretry_wait = \"50ms\"\n");
  ASSERT_NO_FATAL_FAILURE(start_again());
  RecordSender stream(port("tcp"), Over::kTcp);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(outcome(restart()), "completed");
    EXPECT_EQ(run_outlast("restart --wait --store=" + second.store(0), 60).code, 0);
  }
  const long sent = stream.stop();
  EXPECT_FALSE(stream.broken());
  std::set<long> there;
  const auto waited = cluster().wait_until("all records", 30s, [&] {
    const std::vector<long> numbers = numbers_in(log_of("far"));
    there = {numbers.begin(), numbers.end()};
    return static_cast<long>(there.size()) == sent;
  });
  EXPECT_TRUE(waited.ok()) << there.size() << " of " << sent;
}

TEST_F(CollectorTest, SourceOnlyStoresNothingUntilTheSignalAndLastsOverRestarts) {
  write_config(config(dir()));
  ASSERT_NO_FATAL_FAILURE(start({"--with-source-only"}));
  EXPECT_TRUE(source_only());
  RecordSender datagrams(port("udp"), Over::kUdp), stream(port("tcp"), Over::kTcp);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(outcome(restart()), "completed");
    EXPECT_TRUE(source_only());
  }
  EXPECT_NE(run_outlast("ingest status --store=" + cluster().store(0), 30).output.find("source-only"),
            std::string::npos);
  EXPECT_TRUE(numbers_in(log_of("udp")).empty());
  ::kill(supervisor(), SIGWINCH);
  wait("the end of source-only", [this] { return !source_only(); });
  const long udp = datagrams.stop(), tcp = stream.stop();
  expect_all("udp", udp);
  expect_all("tcp", tcp);
  const auto killed = cluster().kill_worker(0);
  ASSERT_TRUE(killed.ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(0, *killed));
  EXPECT_FALSE(source_only()) << "a worker that is started again is as the one before";
}

TEST_F(CollectorTest, AStopWhileSourceOnlyKeepsEverythingForTheNextStart) {
  write_config(config(dir()));
  ASSERT_NO_FATAL_FAILURE(start({"--with-source-only"}));
  RecordSender stream(port("tcp"), Over::kTcp);
  const auto taken = [this] {
    return ingest_status(cluster()).at("inputs").as_array().at(1).at("records").to_number<long>();
  };
  wait("records", [&] { return taken() > 100; });
  const long sent = stream.stop();
  wait("all records", [&] { return taken() == sent; });
  const auto stopped = cluster().terminate(0, 30s);
  EXPECT_TRUE(stopped.ok() && *stopped == 0);
  EXPECT_TRUE(numbers_in(log_of("tcp")).empty());
  ASSERT_NO_FATAL_FAILURE(start());
  expect_all("tcp", sent);
}

TEST_F(CollectorTest, ANodeServesSqlWhileItIsSourceOnly) {
  write_config(
      "[[input]]\ntype = \"udp\"\nlisten = \"udp://127.0.0.1:0\"\n[[sink]]\ntype = \"table\"\nmatch = \"**\"\n"
      "database = \"defaultdb\"\ntable = \"logs\"\n[sink.buffer]\nflush_interval = \"50ms\"\n");
  use_start({"--with-source-only", "--config=" + config_});
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
  RecordSender datagrams(port("udp"), Over::kUdp);
  EXPECT_EQ(outcome(restart()), "completed");
  EXPECT_TRUE(source_only());
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM pg_class WHERE relname = 'logs'"), "0");
  ::kill(supervisor(), SIGWINCH);
  const std::string sent = std::to_string(datagrams.stop());
  wait("all records", [&] {
    return value(0, "defaultdb", "SELECT count(*) FROM pg_class WHERE relname = 'logs'") == "1" &&
           value(0, "defaultdb", "SELECT count(*) || ' ' || count(DISTINCT fields) FROM logs") == sent + " " + sent;
  });
  EXPECT_FALSE(source_only());
}

}  // namespace
}  // namespace outlast
