#include "meta/tasks.h"

#include <gtest/gtest.h>

#include "meta/cas.h"
#include "meta/keys.h"
#include "tests/support/sim_meta_test.h"

namespace outlast::meta {
namespace {
using namespace std::chrono_literals;
using testing_support::SimStore;
using Fault = SimStore::Fault;

class TasksTest : public testing_support::SimMetaTest {
 protected:
  static NewTask begin(std::string by = "op") {
    return {
        .kind = "decommission", .by = std::move(by), .started_micros = 5, .body = [](std::uint64_t id, const auto&) {
          return Result<std::string>("body of " + std::to_string(id));
        }};
  }
  Result<TaskRecord> create(NewTask task = begin()) {
    return wait<TaskRecord>([&](auto done) { create_task(store_, std::move(task), std::move(done)); });
  }
  Result<TaskRecord> change(std::uint64_t id, TaskPlanner plan, std::vector<Compare> also = {}) {
    return wait<TaskRecord>([&](auto done) { change_task(store_, id, std::move(plan), also, std::move(done)); });
  }
  Result<TaskRecord> end(std::uint64_t id) {
    return change(id, [](TaskRecord now) -> Result<TaskRecord> {
      now.state = TaskState::kCompleted;
      return now;
    });
  }
  std::vector<std::uint64_t> there() {
    const auto mirror = mirror_tasks(other_);
    loop_.advance(100ms);
    std::vector<std::uint64_t> ids;
    for (const auto& entry : mirror->snapshot()) ids.push_back(entry->value.id);
    std::ranges::sort(ids);
    return ids;
  }
};

TEST_F(TasksTest, ARecordReadsBackAsWritten) {
  const TaskRecord record{.id = 3,
                          .kind = "k",
                          .state = TaskState::kPaused,
                          .by = "b",
                          .started_micros = -1,
                          .ended_micros = 2,
                          .outcome = "o",
                          .body = R"({"a":"\"b\""})",
                          .request = "r"};
  EXPECT_EQ(*decode_task_record(encode(record)), record);
  EXPECT_EQ(decode_task_record(R"({"id":3,"state":"sleeping"})").error().code, Errc::kCorrupt);
  EXPECT_EQ(decode_task_record(R"({"state":"running"})").error().code, Errc::kCorrupt);
}

TEST_F(TasksTest, EachOneHasANumberOfItsOwnThatItsBodyKnows) {
  EXPECT_EQ(create()->id, 1U);
  const auto second = create();
  EXPECT_EQ(second->id, 2U);
  EXPECT_EQ(second->body, "body of 2");
  EXPECT_EQ(second->state, TaskState::kRunning);
}

TEST_F(TasksTest, ALostAnswerMakesNoSecondTask) {
  store_.fault = [n = 2](const Txn&) mutable { return n-- > 0 ? Fault::kLoseAnswer : Fault::kNone; };
  EXPECT_EQ(create()->id, 1U);
  store_.fault = [n = 2](const Txn&) mutable { return n-- > 0 ? Fault::kLoseRequest : Fault::kNone; };
  EXPECT_EQ(create()->id, 2U);
  EXPECT_EQ(there(), (std::vector<std::uint64_t>{1, 2}));
}

/// Both saw no task; the one that is second sees the first one's before it begins.
TEST_F(TasksTest, OfTwoThatBeginAtOnceTheSecondSeesTheFirst) {
  const auto alone = [](std::uint64_t, const std::vector<TaskRecord>& others) -> Result<std::string> {
    if (others.empty()) return std::string("mine");
    return Error(Errc::kAlreadyExists, "task " + std::to_string(others.back().id) + " does it already");
  };
  std::vector<Result<TaskRecord>> results;
  for (SimStore* store : {&store_, &other_}) {
    NewTask task = begin();
    task.body = alone;
    create_task(*store, std::move(task), [&](Result<TaskRecord> r) { results.push_back(std::move(r)); });
  }
  loop_.advance(1min);
  ASSERT_EQ(results.size(), 2U);
  EXPECT_NE(results[0].ok(), results[1].ok());
  EXPECT_EQ((results[0].ok() ? results[1] : results[0]).error().code, Errc::kAlreadyExists);
}

/// A task that is looked at while another one begins does not change under it.
TEST_F(TasksTest, ATaskThatBeganSawTheOthersAsTheyAre) {
  ASSERT_TRUE(create().ok());
  int asked = 0;
  NewTask task = begin();
  task.body = [&](std::uint64_t, const std::vector<TaskRecord>& others) -> Result<std::string> {
    if (++asked == 1)
      change_task(
          other_, 1,
          [](TaskRecord now) -> Result<TaskRecord> {
            now.state = TaskState::kPaused;
            return now;
          },
          {}, [](auto) {});
    return std::string(to_string(others.at(0).state));
  };
  store_.request_delay = 5ms;
  EXPECT_EQ(create(std::move(task))->body, "paused");
  EXPECT_EQ(asked, 2);
}

TEST_F(TasksTest, IsChangedOnlyWhileTheConditionsHold) {
  ASSERT_TRUE(create().ok());
  const auto pause = [](TaskRecord now) -> Result<TaskRecord> {
    now.state = TaskState::kPaused;
    now.id = 77;
    return now;
  };
  EXPECT_EQ(change(1, pause, {Compare::present(std::string(keys::kOffice))}).error().code, Errc::kMetaConflict);
  const auto paused = change(1, pause, {Compare::absent(std::string(keys::kOffice))});
  EXPECT_EQ(paused->state, TaskState::kPaused);
  EXPECT_EQ(paused->id, 1U) << "stays what it is";
  EXPECT_TRUE(change(1, pause, {Compare::present(std::string(keys::kOffice))}).ok()) << "it is so already";
  EXPECT_EQ(change(9, pause).error().code, Errc::kNotFound);
  const auto refuse = [](const TaskRecord&) -> Result<TaskRecord> { return Error(Errc::kInvalidState, "no"); };
  EXPECT_EQ(change(1, refuse).error().code, Errc::kInvalidState);
}

TEST_F(TasksTest, TheOldestThatAreOverGo) {
  for (int i = 0; i < 12; ++i) ASSERT_TRUE(create().ok());
  for (const std::uint64_t id : {1, 2, 3, 10, 11}) ASSERT_TRUE(end(id).ok());
  EXPECT_EQ(*wait<std::size_t>([&](auto done) { prune_tasks(store_, 2, std::move(done)); }), 3U);
  EXPECT_EQ(there(), (std::vector<std::uint64_t>{4, 5, 6, 7, 8, 9, 10, 11, 12}));
  EXPECT_EQ(*wait<std::size_t>([&](auto done) { prune_tasks(store_, 2, std::move(done)); }), 0U);
}

}  // namespace
}  // namespace outlast::meta
