// What `outlast restart` prints and returns, against a supervisor that is a list of answers.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <boost/json.hpp>
#include <deque>
#include <filesystem>
#include <fstream>
#include <thread>

#include "cli/command.h"
#include "cli/http_get.h"
#include "cli/restart_follow.h"
#include "cli/restart_source.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
namespace json = boost::json;
using handover::ControlMessage;
using server::RestartStatus;

constexpr const char* kCompleted =
    R"({"id":7,"outcome":"completed","why":"","by":"SIGUSR2","from_version":"1","to_version":"2",
    "duration_ms":{"trial":90,"standby":400,"sessions":310,"released":150,"owned":50,"total":1000},
    "sessions":{"moved":12,"not_moved":[{"session":"9 of app","reason":"a cursor WITH HOLD"}],"lost":0,
    "pause_ms":{"p50":3,"p99":20,"max":80}},"refused":0,"reset":null,"held":5,"leases":{"moved":4,"kept":1},"attempts":1})";
constexpr const char* kRefused =
    R"({"id":7,"outcome":"refused","why":"node.toml:3: x","duration_ms":{"trial":40,"total":40}})";

RestartStatus status(const std::string& text) {
  auto parsed = server::parse_restart_status(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return std::move(parsed).value();
}
RestartStatus in_state(const std::string& state, std::uint64_t id = 7) {
  return status(json::serialize(json::object{{"state", state}, {"id", id}}));
}
RestartStatus with_receipt(const std::string& receipt) {
  return status(R"({"state":"idle","id":7,"receipt":)" + receipt + "}");
}

class RestartFollowTest : public testing::Test {
 protected:
  int run(RestartStatus first) {
    return RestartFollow(options_, {.start = [&]() -> Result<RestartStatus> { return first; },
                                    .look =
                                        [this](std::uint64_t id) {
                                          EXPECT_EQ(id, expected_);
                                          now_ += 500ms;
                                          Result<std::optional<RestartStatus>> next = std::optional<RestartStatus>();
                                          if (!looks_.empty()) {
                                            next = std::move(looks_.front());
                                            looks_.pop_front();
                                          }
                                          return next;
                                        },
                                    .now = [this] { return now_; },
                                    .interrupted = [this] { return interrupted_; },
                                    .out = [this](const std::string& text) { out_ += text; },
                                    .err = [this](const std::string& text) { err_ += text; }})
        .run();
  }
  void then(RestartStatus next) { looks_.emplace_back(std::optional(std::move(next))); }
  RestartFollowOptions options_{.wait = true, .json = false, .timeout = 1min};
  std::deque<Result<std::optional<RestartStatus>>> looks_;
  std::uint64_t expected_{7};
  Duration now_{0};
  bool interrupted_{false};
  std::string out_, err_;
};

TEST_F(RestartFollowTest, ALineForEachStateAndThenTheReceipt) {
  then(in_state("standby"));
  looks_.emplace_back(Error(Errc::kUnavailable, "between two workers"));
  then(in_state("sessions"));
  then(in_state("storage_released"));
  then(in_state("owned"));
  then(with_receipt(kCompleted));
  EXPECT_EQ(run(in_state("trial")), kDone);
  EXPECT_EQ(err_,
            "trying the new program                        0.5 s\n"
            "starting the new worker beside the old one    1.0 s\n"
            "moving sessions and leases                    0.5 s\n"
            "the new worker takes the store                0.5 s\n"
            "the new worker serves; the old one ends       0.5 s\n");
  EXPECT_EQ(out_,
            "restart     7 completed in 1.0 s\n"
            "by          SIGUSR2\n"
            "version     1 to 2\n"
            "steps       trial 0.1 s, standby 0.4 s, sessions 0.3 s, released 0.1 s, owned 0.1 s\n"
            "sessions    12 moved, 1 told to reconnect, 0 lost; paused p50 3 ms, p99 20 ms, max 80 ms\n"
            "clients     0 refused, ? reset, 5 statements held\n"
            "leases      4 moved, 1 kept\n"
            "  9 of app: a cursor WITH HOLD\n");
}

TEST_F(RestartFollowTest, ARefusalSaysWhyAndThatNothingChanged) {
  then(with_receipt(kRefused));
  EXPECT_EQ(run(in_state("trial")), kFailed);
  EXPECT_NE(err_.find("outlast: restart 7 was refused: node.toml:3: x; nothing was changed\n"), std::string::npos)
      << err_;
  EXPECT_EQ(out_.find("sessions"), std::string::npos) << out_;
}

TEST_F(RestartFollowTest, WaitsForItsOwnRunBehindAnother) {
  expected_ = 8;
  then(in_state("owned"));
  then(with_receipt(kCompleted));
  then(in_state("trial", 8));
  then(status(R"({"state":"idle","id":8,"receipt":{"id":8,"outcome":"completed"}})"));
  EXPECT_EQ(run(status(R"({"state":"sessions","id":7,"queued":true})")), kDone);
  EXPECT_EQ(err_.find("restart 7 goes on; 8 follows when it is over\n"), 0U) << err_;
  EXPECT_NE(out_.find("restart     8 completed"), std::string::npos);
}

TEST_F(RestartFollowTest, WithoutWaitTheAcceptanceIsTheEnd) {
  options_.wait = false;
  EXPECT_EQ(run(status(R"({"state":"idle","id":6,"accepted":7})")), kDone);
  EXPECT_EQ(out_.find("restart 7 accepted"), 0U) << out_;
}

TEST_F(RestartFollowTest, JsonIsOneObjectALineAndTheReceiptLast) {
  options_.json = true;
  then(in_state("trial"));
  then(in_state("standby"));
  then(with_receipt(R"({"id":7,"outcome":"completed"})"));
  EXPECT_EQ(run(in_state("trial")), kDone);
  EXPECT_EQ(out_,
            "{\"state\":\"trial\",\"id\":7}\n{\"state\":\"standby\",\"id\":7}\n"
            "{\"id\":7,\"outcome\":\"completed\"}\n");
  EXPECT_EQ(err_, "");
}

TEST_F(RestartFollowTest, EndsWithItsTimeWithCtrlCAndWithAReceiptThatWasMissed) {
  options_.timeout = 2s;
  EXPECT_EQ(run(in_state("trial")), kFailed);
  EXPECT_NE(err_.find("is not over after 2s: it goes on"), std::string::npos) << err_;
  interrupted_ = true;
  EXPECT_EQ(run(in_state("trial")), kInterrupted);
  interrupted_ = false;
  then(status(R"({"state":"idle","id":9,"receipt":{"id":9,"outcome":"completed"}})"));
  EXPECT_EQ(run(in_state("trial")), kFailed);
  EXPECT_NE(err_.find("RESTARTS.json"), std::string::npos);
}

TEST(RestartText, APlanShowsWhatItKnows) {
  const auto plan = json::parse(
      R"({"trial":{"version":"2","warnings":["w"]},"worker":{"moves":12,"waits":[],
      "reconnects":[{"session":"9","reason":"COPY"}],"expected_pause_ms":40}})");
  EXPECT_EQ(restart_plan(plan.get_object()),
            "plan: nothing was changed\nversion     2 could start here\nwarning     w\n"
            "moves       12 sessions at once, without noticing\n"
            "waits       0 sessions for the end of a statement or transaction, and then without noticing\n"
            "reconnects  1 session told to connect again (57P01)\n  9: COPY\n"
            "pause       about 40 ms for a session\n");
  const auto collector = json::parse(R"({"trial":{"version":"2"},"worker":{"inputs":3}})");
  EXPECT_EQ(restart_plan(collector.get_object()),
            "plan: nothing was changed\nversion     2 could start here\n"
            "inputs      3, with their sockets and connections\n");
  const auto refused = json::parse(R"({"trial":{"error":"node.toml:3: x"},"worker":{"error":"y"}})");
  EXPECT_EQ(plan_refusal(refused.get_object()), "node.toml:3: x");
  EXPECT_EQ(restart_plan(refused.get_object()),
            "plan: nothing was changed\nrefused     node.toml:3: x\nsessions    ? y\n");
}

TEST(RestartStatusText, KnowsWhichRunATriggerGot) {
  EXPECT_EQ(status(R"({"state":"trial","id":7})").accepted_id(), 7U);
  EXPECT_EQ(status(R"({"state":"trial","id":7,"queued":true})").accepted_id(), 8U);
  EXPECT_EQ(status(R"({"state":"idle","id":7,"accepted":8})").accepted_id(), 8U);
  EXPECT_FALSE(server::parse_restart_status("[1]").ok());
  EXPECT_FALSE(server::parse_restart_status("").ok());
}

TEST(RestartsFile, GivesTheReceiptOfAnId) {
  const std::string file =
      R"({"last_id":8,"receipts":[{"id":7,"outcome":"completed"},5,{"id":8,"outcome":"refused"}]})";
  ASSERT_TRUE(find_receipt(file, 8));
  EXPECT_EQ(server::text_of(find_receipt(file, 8)->receipt, "outcome"), "refused");
  EXPECT_FALSE(find_receipt(file, 6));
  EXPECT_FALSE(find_receipt("", 8));
}

TEST(HttpQuery, IsEncoded) {
  EXPECT_EQ(url_encoded("outlast restart, a@b"), "outlast%20restart%2C%20a%40b");
}

/// A store whose path is longer than an address of a Unix socket.
class SupervisorSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    store_ = testing::TempDir() + "/outlast_restart_" + std::to_string(::getpid());
    root_ = store_;
    store_ += "/" + std::string(120, 'd');
    std::filesystem::create_directories(store_);
  }
  void TearDown() override {
    if (listener_ >= 0) ::close(listener_);
    std::filesystem::remove_all(root_);
  }
  void listen() {
    listener_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    const std::string here = root_ + "/s";  // bound where the path fits, and moved
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    here.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(listener_, 4), 0);
    std::filesystem::rename(here, store_ + "/supervisor.sock");
  }
  std::string root_, store_;
  int listener_{-1};
};

TEST_F(SupervisorSocketTest, NobodyThereIsASentence) {
  const auto source = restart_by_store(store_);
  const auto answer = source->start("a test", "");
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().message.find("no node runs at --store="), 0U) << answer.error().message;
}

TEST_F(SupervisorSocketTest, AsksAndFollowsAndReadsTheFileWhenTheSupervisorReplacesItself) {
  listen();
  std::string wish;
  std::thread supervisor([&] {
    const int client = ::accept(listener_, nullptr, nullptr);
    for (std::optional<ControlMessage> message; !message;) {
      auto received = handover::receive_control(client);
      ASSERT_TRUE(received.ok());
      message = *received;
      if (message) wish = message->text;
    }
    const auto say = [client](const char* text) {
      EXPECT_TRUE(handover::send_control(client, {.kind = ControlMessage::Kind::kRestartStatus, .text = text}).ok());
    };
    say(R"({"state":"trial","id":7,"accepted":7})");
    say(R"({"state":"standby","id":7})");
    ::close(client);
  });
  const auto source = restart_by_store(store_);
  const auto first = source->start("a test", "/usr/bin/new");
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(first->accepted_id(), 7U);
  const auto next = source->look(7);
  ASSERT_TRUE(next.ok() && *next);
  EXPECT_EQ((*next)->state, "standby");
  supervisor.join();
  EXPECT_EQ(wish, R"({"by":"a test","wait":true,"binary":"/usr/bin/new"})");
  EXPECT_FALSE(*source->look(7)) << "gone, and no receipt yet";
  std::ofstream(store_ + "/RESTARTS.json") << R"({"last_id":7,"receipts":[{"id":7,"outcome":"completed"}]})";
  const auto last = source->look(7);
  ASSERT_TRUE(last.ok() && *last);
  EXPECT_TRUE(server::restart_succeeded((*last)->receipt));
}

}  // namespace
}  // namespace outlast::cli
