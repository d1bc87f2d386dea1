// What a process leaves open when it ends in the middle of a request.
#include <gtest/gtest.h>

#include <deque>

#include "executor/executor.h"
#include "executor/local_channel.h"
#include "executor/testing/fake_range.h"

namespace outlast::executor::testing {
namespace {

/// SQL "threads" that the test runs by hand; once stopped they drop what they are given, as SqlPool does.
class HandRun {
 public:
  void post(Task task) {
    if (!stopped_) tasks_.push_back(std::move(task));
  }
  void run() {
    for (; !tasks_.empty(); tasks_.pop_front()) tasks_.front()();
  }
  void stop() {
    stopped_ = true;
    std::exchange(tasks_, {}).clear();
  }

 private:
  std::deque<Task> tasks_;
  bool stopped_{false};
};

proto::ExecRequest sql(const std::string& text, bool begin) {
  proto::ExecRequest request;
  request.set_range(7);
  request.set_epoch(3);
  request.mutable_run()->set_sql(text);
  request.mutable_run()->set_begin(begin);
  return request;
}

TEST(Ending, AStatementGoesBeforeTheTransactionThatItBelongsTo) {
  TempDir dir;
  ManualClock clock;
  HandRun hand;
  SqlPool pool([&hand](Task task) { hand.post(std::move(task)); });
  FakeDirectory directory;
  const auto range = std::make_shared<FakeRange>(RangeId(7), Epoch(3), dir.path() + "/range.db");
  directory.set(range);
  auto executor = std::make_unique<Executor>(directory, pool, clock, Parameters(), nullptr);
  int answers = 0;
  const auto run = [&](Channel& channel, const std::string& text, bool begin) {
    static_cast<LocalChannel&>(channel).start(sql(text, begin), [&](const proto::ExecReply& reply) {
      EXPECT_FALSE(reply.has_error()) << reply.error().message();
      ++answers;
    });
    hand.run();
  };
  auto holder = executor->open_channel(1), waiter = executor->open_channel(1);
  run(*holder, "CREATE TABLE t(a)", false);
  run(*holder, "INSERT INTO t VALUES (1)", true);
  run(*waiter, "SELECT 1", true);
  EXPECT_EQ(answers, 3);
  run(*waiter, "UPDATE t SET a = 2", false);  // prepared, and waits for the writer lock
  EXPECT_EQ(answers, 3);
  hand.stop();
  waiter.reset();
  holder.reset();
  executor.reset();
  EXPECT_EQ(range->connections, 0) << "every connection is closed, and each statement of it was before";
}

}  // namespace
}  // namespace outlast::executor::testing
