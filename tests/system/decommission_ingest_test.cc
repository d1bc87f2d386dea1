// A node leaves the cluster for good while senders send: its inputs close, its buffers go to their sinks, and only then
// it is drained. Here the drain is asked for as a decommission asks for it.
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "rpc/client.h"
#include "support/http_sender.h"
#include "support/ingest_nodes.h"
#include "support/record_sender.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using Action = proto::DrainRequest;
using testing_support::HttpSender;
using testing_support::RecordSender;
using testing_support::Role;

class DecommissionIngest : public testing_support::IngestNodes {
 protected:
  proto::DrainReply ask(const proto::DrainRequest& request) {
    const auto facts = cluster().facts(0);
    if (!facts.ok()) return {};
    auto reply = rpc::AdminClient(facts->listen_addr).drain(request, 10s);
    return reply.ok() ? *std::move(reply) : proto::DrainReply();
  }
  proto::DrainReply leave(bool force = false) {
    proto::DrainRequest request;
    request.set_action(Action::DRAIN);
    request.set_leave(true);
    request.set_force(force);
    request.set_by("a task");
    return ask(request);
  }
  proto::DrainReply undrain(bool by_task) {
    proto::DrainRequest request;
    request.set_action(Action::UNDRAIN);
    request.set_leave(by_task);
    return ask(request);
  }
  proto::DrainStatus until(const std::string& what, const std::function<bool(const proto::DrainStatus&)>& done) {
    proto::DrainStatus last;
    const auto waited = cluster().wait_until(what, 60s, [&] {
      last = ask({}).status();
      return done(last);
    });
    EXPECT_TRUE(waited.ok()) << waited.error().message << "\n" << last.DebugString();
    return last;
  }
  proto::DrainStatus until_end() {
    return until("the drain's end", [](const proto::DrainStatus& s) { return !s.end().empty(); });
  }
  proto::DrainStatus until_only_buffers_are_left() {
    return until("closed inputs and a buffer that is not empty", [](const proto::DrainStatus& s) {
      return s.leave() && s.remaining().inputs() == 0 && s.remaining().buffer_bytes() > 0 &&
             s.blocker() == "ingest buffers";
    });
  }
  static bool waits_for(const proto::DrainStatus& status, const std::string& name) {
    for (const auto& one : status.blocking())
      if (one.name() == name) return true;
    return false;
  }
  static bool listens(int port) {
    const int fd = testing_support::connect_to(port);
    if (fd >= 0) close(fd);
    return fd >= 0;
  }

  /// One node whose only sink writes below something that is no directory.
  void start_without_a_sink_that_takes() {
    std::ofstream(dir() + "/away") << "in the way";
    ASSERT_NO_FATAL_FAILURE(start_with(input("http", "http", "http://127.0.0.1", "ack = \"buffered\"") +
                                       "[[sink]]\ntype = \"file\"\nmatch = \"**\"\nname = \"away\"\npath = \"" + dir() +
                                       "/away/records\"\n[sink.buffer]\ntype = \"file\"\npath = \"" + dir() +
                                       "/buffer\"\nflush_interval = \"50ms\"\nretry_wait = \"100ms\"\n" +
                                       "retry_max_interval = \"200ms\"\n"));
  }
  std::vector<long> send_some() {
    HttpSender posts(port("http"));
    wait("a few answers", [&] { return posts.answered() >= 10; });
    posts.stop();
    EXPECT_EQ(posts.failures(), 0) << posts.failure();
    return posts.acknowledged();
  }
  void let_the_sink_take() { std::filesystem::remove(dir() + "/away"); }
  std::vector<long> taken() {
    std::ifstream in(dir() + "/away/records");
    return testing_support::numbers_in(std::string((std::istreambuf_iterator<char>(in)), {}))["n"];
  }
};

TEST_F(DecommissionIngest, UnderSendersNoRecordIsLostOrDoubledAndAllIsAsBeforeWhenTheNodeStays) {
  configure(input("syslog", "syslog", "udp://127.0.0.1") + input("tcp", "tcp", "tcp://127.0.0.1") +
            input("http", "http", "http://127.0.0.1", "ack = \"stored\"") + table_sink());
  use_start({"--config=" + dir() + "/node.toml"});
  ASSERT_NO_FATAL_FAILURE(start_nodes(3));
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  const int udp_port = port("syslog"), tcp_port = port("tcp"), http_port = port("http");
  RecordSender datagrams(udp_port, RecordSender::Over::kUdp), stream(tcp_port, RecordSender::Over::kTcp);
  HttpSender posts(http_port);
  wait("records of each kind", [&] { return posts.answered() > 5 && datagrams.sent() > 500 && stream.sent() > 500; });

  const long before = datagrams.sent();
  ASSERT_EQ(leave().code(), "");
  const auto waiting =
      until("the connection that is open", [](const auto& status) { return waits_for(status, "input tcp"); });
  EXPECT_TRUE(waiting.leave());
  const long streamed = stream.stop();  // its sender goes elsewhere
  EXPECT_FALSE(stream.broken());
  const auto end = until_end();
  EXPECT_EQ(end.end(), "complete");
  EXPECT_EQ(end.remaining().inputs() + end.remaining().buffer_bytes(), 0U) << end.DebugString();
  EXPECT_GT(end.inputs_closed_ms(), 0U);
  EXPECT_GE(end.buffers_flushed_ms(), end.inputs_closed_ms());
  EXPECT_FALSE(listens(tcp_port));
  EXPECT_FALSE(listens(http_port));
  wait("the datagrams' sender to hear of it", [&] { return datagrams.broken(); });
  datagrams.stop();
  posts.stop();
  const long read = input_status("syslog").at("records").to_number<long>();
  EXPECT_GE(read, before) << "what the kernel had";
  EXPECT_EQ(input_status("syslog").at("kernel_drops").to_number<int>(), 0);

  const auto refused = undrain(false);
  const std::string instead = "outlast node recommission " + cluster().facts(0)->node.to_string();
  EXPECT_NE(refused.message().find(instead), std::string::npos) << refused.DebugString();
  ASSERT_EQ(undrain(true).code(), "");
  expect_stored("syslog", read);
  expect_stored("tcp", streamed);
  const std::vector<long> posted = stored("http")["n"];
  const std::multiset<long> there(posted.begin(), posted.end());
  for (const long n : posts.acknowledged()) EXPECT_EQ(there.count(n), 1U) << n;
  for (const long n : there) EXPECT_EQ(there.count(n), 1U) << n;

  wait("open inputs", [&] { return listens(tcp_port) && listens(http_port); });
  HttpSender again(http_port);
  RecordSender datagrams_again(udp_port, RecordSender::Over::kUdp);
  wait("records again",
       [&] { return again.answered() > 0 && input_status("syslog").at("records").to_number<long>() > read; });
}

TEST_F(DecommissionIngest, ASinkThatTakesNothingHoldsItOpenOverARestartAndIsNamed) {
  ASSERT_NO_FATAL_FAILURE(start_without_a_sink_that_takes());
  const std::vector<long> sent = send_some();
  ASSERT_EQ(leave(true).code(), "");  // nobody else could take the only node's lease
  const auto waiting = until_only_buffers_are_left();
  ASSERT_TRUE(waits_for(waiting, "the buffer of sink away")) << waiting.DebugString();
  EXPECT_NE(waiting.DebugString().find("the sink does not take them"), std::string::npos) << waiting.DebugString();

  EXPECT_EQ(outcome(restart()), "completed");
  const auto carried_on = until_only_buffers_are_left();
  EXPECT_GT(carried_on.incarnation(), waiting.incarnation());
  EXPECT_EQ(carried_on.by(), "a task");
  EXPECT_TRUE(carried_on.force());
  EXPECT_FALSE(listens(port("http"))) << "not for an instant: the new worker knows";

  let_the_sink_take();
  EXPECT_EQ(until_end().end(), "forced");
  expect_all_once("the file", static_cast<long>(sent.size()), [&] { return taken(); });
  EXPECT_EQ(cluster().terminate(0, 20s).value(), 0);
}

TEST_F(DecommissionIngest, AProcessThatIsStartedAfterACrashTakesRecordsAgain) {
  ASSERT_NO_FATAL_FAILURE(start_without_a_sink_that_takes());
  const int http_port = port("http");
  ASSERT_NO_FATAL_FAILURE(send_some());
  ASSERT_EQ(leave(true).code(), "");
  (void)until_only_buffers_are_left();
  EXPECT_FALSE(listens(http_port));
  const pid_t crashed = worker();
  strike(crashed, SIGKILL);
  ASSERT_NO_FATAL_FAILURE(wait_ready(0, crashed));
  EXPECT_EQ(ask({}).status().phase(), "serving") << "a drain belongs to its process";
  wait("an input that is open", [&] { return listens(http_port); });
  ASSERT_NO_FATAL_FAILURE(send_some());
}

}  // namespace
}  // namespace outlast
