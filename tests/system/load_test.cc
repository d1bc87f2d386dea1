// Stream loads on real nodes: once per label, and all or nothing whoever is killed at whatever step.
#include <sys/socket.h>
#include <unistd.h>

#include <future>
#include <random>
#include <thread>

#include "cli/demo/proof.h"
#include "cli/http_get.h"
#include "support/cluster.h"
#include "support/http_sender.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using Headers = std::vector<std::string>;

/// A text field of a flat JSON answer.
std::string field(const std::string& json, const std::string& name) {
  const std::string before = "\"" + name + "\":\"";
  const std::size_t at = json.find(before);
  return at == std::string::npos
             ? ""
             : json.substr(at + before.size(), json.find('"', at + before.size()) - at - before.size());
}

/// Rows `from` … `to - 1`, each once.
std::string csv(int from, int to) {
  std::string out;
  for (; from < to; ++from) out += std::to_string(from) + ",the text of row " + std::to_string(from) + "\n";
  return out;
}

class LoadTest : public testing_support::ClusterTest {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(start_nodes(3));
    auto main = connect(0);
    must(main, "CREATE TABLE plain (k bigint PRIMARY KEY, v text NOT NULL)");
    must(main, "CREATE TABLE parts (k bigint PRIMARY KEY, v text NOT NULL) PARTITION BY HASH (k) PARTITIONS 3");
    const auto whole = cluster().wait_until("all copies", 60s, [&] {
      const auto ranges = cluster().ranges(0);
      return ranges.ok() && ranges->size() == 4 && cli::fully_replicated(*ranges, 3);
    });
    ASSERT_TRUE(whole.ok()) << whole.error().message;
  }
  cli::HttpAnswer send(int node, const cli::HttpRequest& request) {
    const auto facts = cluster().facts(node);
    const auto answer =
        facts.ok() ? cli::http_send(facts->http_addr, request, 60s) : Result<cli::HttpAnswer>(facts.error());
    return answer.ok() ? *answer : cli::HttpAnswer{.body = answer.error().message};
  }
  cli::HttpAnswer load(int node, const std::string& table, const std::string& label, const std::string& body,
                       Headers more = {}) {
    more.push_back("label: " + label);
    return send(node, {"PUT", "/api/defaultdb/" + table + "/_stream_load", more, body});
  }
  cli::HttpAnswer transaction(int node, const std::string& step, const std::string& table, const std::string& label,
                              const std::string& body = "") {
    return send(node, {step == "load" ? "PUT" : "POST",
                       "/api/transaction/" + step,
                       {"db: defaultdb", "table: " + table, "label: " + label},
                       body});
  }
  /// LOADING, PREPARED, …; empty when no load has the label, or nobody answers.
  std::string state(int node, const std::string& label) {
    return field(send(node, {"GET", "/api/defaultdb/_load_info?label=" + label}).body, "state");
  }
  void wait_for_state(int node, const std::string& label, const std::string& wanted) {
    const auto seen = cluster().wait_until(label + " " + wanted, 30s, [&] { return state(node, label) == wanted; });
    ASSERT_TRUE(seen.ok()) << seen.error().message << ", it is " << state(node, label);
  }
  std::string count(const std::string& table, int from = 0, int to = 1'000'000'000) {
    return value(
        2, "defaultdb",
        "SELECT count(*) FROM " + table + " WHERE k >= " + std::to_string(from) + " AND k < " + std::to_string(to));
  }
  int http_port(int node) {
    const std::string address = cluster().facts(node)->http_addr;
    return std::stoi(address.substr(address.rfind(':') + 1));
  }
  /// A load whose client has sent so many bytes of its body and waits.
  int begin_sending(int node, const std::string& label, const std::string& body, std::size_t bytes) {
    const int fd = testing_support::connect_to(http_port(node));
    const std::string text =
        "PUT /api/defaultdb/parts/_stream_load HTTP/1.1\r\nHost: test\r\nConnection: close\r\nlabel: " + label +
        "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body.substr(0, bytes);
    EXPECT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    return fd;
  }
  void kill(int node) {
    const auto killed = cluster().kill_worker(node);
    ASSERT_TRUE(killed.ok()) << killed.error().message;
    wait_ready(node, *killed);
  }
  /// After whatever happened: rows `from` … `to - 1` are all there or none, as the label says, and after the load has
  /// been repeated under it they are there once.
  void expect_once(const std::string& label, int from, int to) {
    std::string now;
    const auto settled = cluster().wait_until("the end of " + label, 60s, [&] {
      now = state(2, label);
      return now != "LOADING" && now != "COMMITTED";
    });
    ASSERT_TRUE(settled.ok()) << settled.error().message << ", it is " << now;
    EXPECT_EQ(count("parts", from, to), now == "FINISHED" ? std::to_string(to - from) : "0") << label << " is " << now;
    cli::HttpAnswer again;
    const auto repeated = cluster().wait_until("a repeat of " + label, 60s, [&] {
      again = load(2, "parts", label, csv(from, to));
      return again.status == 200 && field(again.body, "Status") != "Fail";
    });
    ASSERT_TRUE(repeated.ok()) << again.body;
    EXPECT_EQ(field(again.body, "Status"), now == "FINISHED" ? "Label Already Exists" : "Success") << again.body;
    EXPECT_EQ(count("parts", from, to), std::to_string(to - from));
    EXPECT_EQ(state(2, label), "FINISHED");
  }
};

TEST_F(LoadTest, ALabelBringsItsRowsInOnceThroughWhateverNode) {
  const std::string body = csv(0, 50'000);  // more than what is read of a request at once, and than one batch
  for (const std::string table : {"plain", "parts"}) {
    const auto first = load(0, table, "once-" + table, body);
    EXPECT_EQ(field(first.body, "Status"), "Success") << first.body;
    const auto second = load(1, table, "once-" + table, body);
    EXPECT_EQ(field(second.body, "Status"), "Label Already Exists") << second.body;
    EXPECT_EQ(field(second.body, "ExistingJobStatus"), "FINISHED") << second.body;
    EXPECT_EQ(count(table), "50000");
    EXPECT_EQ(state(2, "once-" + table), "FINISHED");
  }
}

TEST_F(LoadTest, TwoStepsAreCommittedOrTakenBackThroughAnyNode) {
  for (const std::string table : {"plain", "parts"}) {
    EXPECT_EQ(field(transaction(0, "begin", table, "t-" + table).body, "Status"), "OK");
    const auto elsewhere = transaction(1, "load", table, "t-" + table, csv(0, 10));
    EXPECT_EQ(elsewhere.status, 307) << elsewhere.body;
    EXPECT_EQ(elsewhere.location, "http://" + cluster().facts(0)->http_addr + "/api/transaction/load");
    for (const int from : {0, 1000}) {
      const auto added = transaction(0, "load", table, "t-" + table, csv(from, from + 1000));
      EXPECT_EQ(field(added.body, "Status"), "OK") << added.body;
    }
    EXPECT_EQ(field(transaction(0, "prepare", table, "t-" + table).body, "Status"), "OK");
    EXPECT_EQ(state(2, "t-" + table), "PREPARED");
    EXPECT_EQ(count(table), "0");
    const auto committed = transaction(1, "commit", table, "t-" + table);
    EXPECT_EQ(field(committed.body, "Status"), "OK") << committed.body;
    EXPECT_EQ(count(table), "2000");
    EXPECT_EQ(field(transaction(0, "begin", table, "r-" + table).body, "Status"), "OK");
    EXPECT_EQ(field(transaction(0, "load", table, "r-" + table, csv(5000, 6000)).body, "Status"), "OK");
    EXPECT_EQ(field(transaction(0, "prepare", table, "r-" + table).body, "Status"), "OK");
    EXPECT_EQ(field(transaction(1, "rollback", table, "r-" + table).body, "Status"), "OK");
    EXPECT_EQ(state(2, "r-" + table), "CANCELLED");
    EXPECT_EQ(count(table), "2000");
  }
}

TEST_F(LoadTest, WhatDoesNotFitIsLeftOutOrEndsTheLoadWithASentence) {
  const std::string body = csv(0, 9) + "nine,text\n";
  for (const std::string table : {"plain", "parts"}) {
    const auto refused = load(0, table, "f-" + table, body);
    EXPECT_EQ(field(refused.body, "Status"), "Fail");
    EXPECT_NE(refused.body.find("invalid input syntax for type bigint"), std::string::npos) << refused.body;
    const auto few = load(0, table, "f-" + table, body, {"max_filter_ratio: 0.05"});
    EXPECT_EQ(field(few.body, "Status"), "Fail") << few.body;
    EXPECT_EQ(count(table), "0");
    const auto enough = load(0, table, "f-" + table, body, {"max_filter_ratio: 0.2"});
    EXPECT_EQ(field(enough.body, "Status"), "Success") << enough.body;
    EXPECT_NE(enough.body.find("\"NumberFilteredRows\":1,"), std::string::npos) << enough.body;
    EXPECT_EQ(count(table), "9");
    const auto json = load(0, table, "j-" + table, "{\"k\":100,\"v\":\"a\"}\nthis is none\n", {"format: json"});
    EXPECT_EQ(field(json.body, "Status"), "Fail");
    EXPECT_NE(json.body.find("the data is not JSON objects: after row 1"), std::string::npos) << json.body;
    EXPECT_EQ(count(table), "9");
  }
  EXPECT_EQ(load(0, "parts", std::string(20'000, 'x'), "").status, 431);
}

TEST_F(LoadTest, ABodyThatIsCutInTheMiddleLeavesNothing) {
  const std::string body = csv(0, 60'000);
  const int fd = begin_sending(0, "cut", body, body.size() / 2);
  wait_for_state(1, "cut", "LOADING");
  EXPECT_EQ(field(load(1, "parts", "cut", body).body, "ExistingJobStatus"), "RUNNING");
  close(fd);
  wait_for_state(1, "cut", "CANCELLED");
  EXPECT_EQ(count("parts"), "0");
  expect_once("cut", 0, 60'000);
}

/// Held by whoever has the writer lock of one partition, or does not send the rest.
TEST_F(LoadTest, KilledAtAnyStepAllRowsAreInOrNoneAndARepeatBringsThemInOnce) {
  int from = 0;
  for (const std::string step : {"receiving", "staging", "applying"})
    for (const int victim : {0, 1}) {
      SCOPED_TRACE(step + ", node " + std::to_string(victim + 1) + " is killed");
      const std::string label = step + std::to_string(victim), body = csv(from, from + 30'000);
      auto locker = connect(2);
      int fd = -1;
      std::future<cli::HttpAnswer> answer;
      if (step == "applying") {
        ASSERT_EQ(field(transaction(0, "begin", "parts", label).body, "Status"), "OK");
        ASSERT_EQ(field(transaction(0, "load", "parts", label, body).body, "Status"), "OK");
        ASSERT_EQ(field(transaction(0, "prepare", "parts", label).body, "Status"), "OK");
      }
      must(locker, "BEGIN");
      must(locker, "DELETE FROM parts WHERE k = -1");
      if (step == "receiving") fd = begin_sending(0, label, body, body.size() / 2);
      if (step == "staging") answer = std::async([&, label, body] { return load(0, "parts", label, body); });
      if (step == "applying") answer = std::async([&, label] { return transaction(0, "commit", "parts", label); });
      ASSERT_NO_FATAL_FAILURE(wait_for_state(2, label, step == "applying" ? "COMMITTED" : "LOADING"));
      ASSERT_NO_FATAL_FAILURE(kill(victim));
      (void)locker.run("ROLLBACK", 10s);
      if (fd >= 0) close(fd);
      if (answer.valid()) answer.wait();
      if (step == "applying") {
        wait_for_state(2, label, "FINISHED");  // past its commit point
      }
      expect_once(label, from, from + 30'000);
      from += 30'000;
    }
}

TEST_F(LoadTest, APreparedLoadSurvivesTheNodeThatPreparedIt) {
  ASSERT_EQ(field(transaction(0, "begin", "parts", "p").body, "Status"), "OK");
  ASSERT_EQ(field(transaction(0, "load", "parts", "p", csv(0, 1000)).body, "Status"), "OK");
  ASSERT_EQ(field(transaction(0, "prepare", "parts", "p").body, "Status"), "OK");
  ASSERT_NO_FATAL_FAILURE(kill(0));
  EXPECT_EQ(state(1, "p"), "PREPARED");
  EXPECT_EQ(count("parts"), "0");
  const auto committed = transaction(1, "commit", "parts", "p");
  EXPECT_EQ(field(committed.body, "Status"), "OK") << committed.body;
  EXPECT_EQ(count("parts"), "1000");
}

TEST_F(LoadTest, KilledAtRandomTimesAllRowsAreInOrNoneAndARepeatBringsThemInOnce) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 chance(seed);
  for (int round = 0; round < 6; ++round) {
    const int from = 20'000 * round, victim = static_cast<int>(chance() % 2);
    const std::string label = "random" + std::to_string(round);
    auto answer = std::async([&, label, from] { return load(0, "parts", label, csv(from, from + 20'000)); });
    std::this_thread::sleep_for(std::chrono::milliseconds(chance() % 400));  // the kill's own time
    ASSERT_NO_FATAL_FAILURE(kill(victim));
    const std::string told = field(answer.get().body, "Status");
    if (told == "Success") {
      EXPECT_EQ(count("parts", from, from + 20'000), "20000");
    }
    ASSERT_NO_FATAL_FAILURE(expect_once(label, from, from + 20'000));
  }
}

}  // namespace
}  // namespace outlast
