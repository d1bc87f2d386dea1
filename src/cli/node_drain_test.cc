// What `node drain` prints and returns, against a node that is a list of answers.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <deque>
#include <sstream>

#include "cli/command.h"
#include "cli/drain_follow.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

proto::DrainStatus status(std::uint64_t connections, const char* phase = "connection wait", const char* end = "") {
  proto::DrainStatus s;
  s.set_node(2);
  s.set_incarnation(7);
  s.set_phase(phase);
  s.set_end(end);
  s.set_since_micros(1);
  s.mutable_remaining()->set_connections(connections);
  s.mutable_remaining()->set_total(connections);
  s.set_eta_ms(-1);
  s.set_metadata(true);
  return s;
}
proto::DrainStatus complete() {
  return status(0, "drained", "complete");
}

class NodeDrainTest : public testing::Test {
 protected:
  NodeDrainTest() {
    options_.request.set_action(proto::DrainRequest::DRAIN);
    options_.name = "node 2";
  }
  void answer(proto::DrainStatus s) {
    proto::DrainReply reply;
    *reply.mutable_status() = std::move(s);
    answers_.emplace_back(std::move(reply));
  }
  void refuse(Errc code, const std::string& why) {
    proto::DrainReply reply;
    reply.set_code(std::string(facts(code).name));
    reply.set_message(why);
    answers_.emplace_back(std::move(reply));
  }
  void silence() { answers_.emplace_back(Error(Errc::kUnavailable, "nobody listens")); }

  int run() {
    DrainFollow follow(options_, {.ask =
                                      [this](const proto::DrainRequest& request) {
                                        asked_.push_back(request);
                                        auto next = answers_.front();
                                        if (answers_.size() > 1) answers_.pop_front();  // the last one is repeated
                                        return next;
                                      },
                                  .now = [this] { return now_; },
                                  .pause =
                                      [this](Duration d) {
                                        now_ += std::max<Duration>(d, step_);
                                        return asked_.size() >= interrupt_after_;
                                      },
                                  .out = [this](const std::string& text) { out_ += text, all_ += text; },
                                  .err = [this](const std::string& text) { err_ += text, all_ += text; }});
    return follow.run();
  }

  DrainFollowOptions options_;
  std::deque<Result<proto::DrainReply>> answers_;
  std::vector<proto::DrainRequest> asked_;
  Duration now_{0}, step_{1s};
  std::size_t interrupt_after_{1000};
  std::string out_, err_, all_;
};

TEST_F(NodeDrainTest, PrintsTheLinesThatScriptsKnow) {
  answer(status(50));
  answer(complete());
  EXPECT_EQ(run(), kDone);
  EXPECT_TRUE(
      all_.starts_with("node is draining... remaining: 50\n"
                       "node is draining... remaining: 0 (complete)\n"
                       "ok\n"))
      << all_;
  EXPECT_EQ(out_, "ok\n") << "what a script reads from stdout";
  EXPECT_EQ(asked_[0].action(), proto::DrainRequest::DRAIN);
  EXPECT_EQ(asked_[1].action(), proto::DrainRequest::STATUS);
}

TEST_F(NodeDrainTest, RepeatsALineOnlyToShowThatItLives) {
  step_ = 100ms;
  for (int i = 0; i < 60; ++i) answer(status(3));
  answer(complete());
  EXPECT_EQ(run(), kDone);
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = err_.find("remaining: 3\n", at)) != std::string::npos; ++at) ++lines;
  EXPECT_EQ(lines, 2U);
}

TEST_F(NodeDrainTest, SaysZeroOnceUnlessItLasts) {
  step_ = 100ms;
  answer(status(2));
  for (int i = 0; i < 5; ++i) answer(status(0, "step-out"));
  answer(complete());
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(err_.find("remaining: 0\n"), std::string::npos) << err_;

  answers_.clear(), err_.clear();
  for (int i = 0; i < 30; ++i) answer(status(0, "unready"));
  answer(complete());
  EXPECT_EQ(run(), kDone);
  EXPECT_NE(err_.find("remaining: 0\n"), std::string::npos) << "an idle node that waits for its balancer";
}

TEST_F(NodeDrainTest, StopsWaitingButNotTheDrain) {
  options_.wait = 5s;
  answer(status(2));
  EXPECT_EQ(run(), kFailed);
  EXPECT_NE(err_.find("\nERROR: drain timeout\n"), std::string::npos) << err_;
  EXPECT_EQ(out_, "");
  for (const auto& request : asked_) EXPECT_NE(request.action(), proto::DrainRequest::UNDRAIN);
}

TEST_F(NodeDrainTest, WaitsAsLongAsTheSettingsMayTakeAndSaysSo) {
  options_.wait = 5s;
  auto s = status(2);
  s.set_settings_sum_ms(60'000);
  answer(s);
  EXPECT_EQ(run(), kFailed);
  EXPECT_GE(now_, 60s);
  EXPECT_NE(err_.find("waiting 1m instead of 5s"), std::string::npos) << err_;
}

TEST_F(NodeDrainTest, AsksASilentNodeAgainAndSaysWhatIsNotKnown) {
  answer(status(2));
  silence();
  silence();
  answer(status(1));
  answer(complete());
  EXPECT_EQ(run(), kDone);
  EXPECT_NE(err_.find("Whether it goes on draining is not known"), std::string::npos) << err_;
  EXPECT_NE(err_.find("node 2 answers again"), std::string::npos);
}

TEST_F(NodeDrainTest, DoesNotCallASilentNodeDrained) {
  options_.wait = 5s;
  answer(status(2));
  silence();
  EXPECT_EQ(run(), kFailed);
  EXPECT_NE(err_.find("did not answer"), std::string::npos) << err_;
  EXPECT_EQ(out_, "");
}

TEST_F(NodeDrainTest, EndsTheProcessOnlyWhenItIsDrained) {
  options_.shutdown = true;
  answer(status(1));
  answer(complete());
  answer(complete());
  refuse(Errc::kInvalidState, "the process is stopping already");
  silence();
  EXPECT_EQ(run(), kDone);
  EXPECT_EQ(out_, "ok\nshutdown ok\n");
  EXPECT_FALSE(asked_[0].shutdown());
  EXPECT_FALSE(asked_[1].shutdown());
  EXPECT_TRUE(asked_[2].shutdown());
}

TEST_F(NodeDrainTest, SaysWhenADrainedProcessDoesNotEnd) {
  options_.shutdown = true;
  options_.wait = 5s;
  answer(complete());
  EXPECT_EQ(run(), kFailed);
  EXPECT_NE(err_.find("its process still runs"), std::string::npos) << err_;
}

TEST_F(NodeDrainTest, SeesThatTheDrainWasTakenBackOrTheProcessReplaced) {
  answer(status(1));
  auto serving = status(1, "serving");
  serving.set_since_micros(0);
  answer(serving);
  EXPECT_EQ(run(), kFailed);
  EXPECT_NE(err_.find("taken back"), std::string::npos) << err_;

  answers_.clear(), err_.clear();
  answer(status(1));
  serving.set_incarnation(8);
  answer(serving);
  EXPECT_EQ(run(), kFailed);
  EXPECT_NE(err_.find("was started again"), std::string::npos) << err_;
}

TEST_F(NodeDrainTest, FailsAtOnceWhenTheNodeRefusesOrIsNotThere) {
  refuse(Errc::kInvalidState, "the process is stopping already");
  EXPECT_EQ(run(), kFailed);
  EXPECT_EQ(err_, "outlast: node 2: the process is stopping already\n");
  answers_.clear(), err_.clear();
  silence();
  EXPECT_EQ(run(), kFailed);
  EXPECT_EQ(err_, "outlast: nobody listens\n");
}

TEST_F(NodeDrainTest, CtrlCLeavesTheNodeDraining) {
  interrupt_after_ = 2;
  answer(status(1));
  EXPECT_EQ(run(), kInterrupted);
  EXPECT_NE(err_.find("node 2 goes on draining"), std::string::npos);
}

TEST_F(NodeDrainTest, NamesWhatAForcedEndLeavesBehind) {
  auto s = status(0, "drained", "forced");
  s.mutable_remaining()->set_leases(3);
  s.mutable_remaining()->set_unmovable_leases(3);
  s.mutable_remaining()->set_total(3);
  answer(s);
  EXPECT_EQ(run(), kDone);
  EXPECT_NE(err_.find("remaining: 3 (forced)"), std::string::npos) << err_;
  EXPECT_NE(err_.find("3 leases (3 that nobody else could take)"), std::string::npos) << err_;
}

TEST_F(NodeDrainTest, WritesOneObjectALineAndTheReceiptLast) {
  options_.json = true;
  answer(status(4));
  answer(status(2));
  answer(complete());
  EXPECT_EQ(run(), kDone);
  std::istringstream lines(out_);
  std::vector<boost::json::object> objects;
  for (std::string line; std::getline(lines, line);) objects.push_back(boost::json::parse(line).as_object());
  ASSERT_EQ(objects.size(), 3U) << out_;
  EXPECT_EQ(objects[0].at("phase"), "connection wait");
  EXPECT_EQ(objects[2].at("end"), "complete");
  EXPECT_EQ(err_, "");
}

TEST_F(NodeDrainTest, RewritesTheDetailsInPlaceOnATerminal) {
  options_.terminal = true;
  auto s = status(4);
  auto* block = s.add_blocking();
  block->set_kind("session");
  block->set_name("session 12 (app \"billing\")");
  block->set_why("idle in transaction");
  block->set_age_ms(12'000);
  answer(s);
  answer(complete());
  EXPECT_EQ(run(), kDone);
  EXPECT_NE(err_.find("left: 4 connections\n"), std::string::npos) << err_;
  EXPECT_NE(err_.find("  session 12 (app \"billing\") (12.0 s): idle in transaction\n"), std::string::npos) << err_;
  EXPECT_NE(err_.find("\x1b[3F\x1b[J"), std::string::npos) << "three lines of details, taken away again";
}

TEST(DrainText, ADryRunSaysWhatWouldGoWhereAndWhatIsInTheWay) {
  auto s = status(2);
  s.mutable_remaining()->set_leases(5);
  s.mutable_remaining()->set_unmovable_leases(1);
  auto* to = s.add_moved_to();
  to->set_node(3);
  to->set_leases(4);
  s.set_eta_ms(1500);
  s.set_settings_sum_ms(25'000);
  const std::string text = drain_plan(s);
  for (const char* part : {"nothing was changed", "2 connections, 5 leases", "4 to node 3", "about 1.5 s", "allows 25s",
                           "1 lease has no other in-sync replica"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  EXPECT_TRUE(needs_force(s));
}

TEST(DrainText, TheReceiptAccountsForLeasesSessionsAndStatements) {
  auto s = complete();
  s.set_elapsed_ms(4200);
  auto* phase = s.add_phases();
  phase->set_phase("unready");
  phase->set_lasted_ms(1000);
  s.set_leases_moved(34);
  s.set_sessions_shed(12);
  s.mutable_ledger()->set_done(1042);
  const std::string text = drain_receipt(s);
  for (const char* part : {"node 2 in 4.2 s (unready 1.0 s)", "34 moved", "12 told to go at a safe point, 0 cut",
                           "1042 done, 0 failed, 0 cancelled, 0 unknown"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

}  // namespace
}  // namespace outlast::cli
