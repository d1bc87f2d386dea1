#pragma once
#include <gtest/gtest.h>

#include <barrier>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>

#include "executor/executor.h"
#include "executor/row_batch.h"
#include "executor/testing/fake_range.h"

namespace outlast::executor::testing {

/// A reply that has come, or not yet.
using Pending = std::shared_ptr<std::optional<proto::ExecReply>>;

inline boost::asio::awaitable<void> store_reply(Channel* channel, proto::ExecRequest request, Pending out) {
  *out = co_await channel->call(std::move(request));
}

/// One node that leads one range, and sessions that talk to its executor.
class ExecutorTest : public ::testing::Test {
 protected:
  static constexpr RangeId kRange{7};
  static constexpr Epoch kEpoch{3};

  explicit ExecutorTest(std::size_t threads = 2, Parameters parameters = {})
      : threads_(threads),
        pool_(threads),
        range_(std::make_shared<FakeRange>(kRange, kEpoch, dir_.path() + "/range.db")),
        executor_(std::make_unique<Executor>(directory_, pool_, clock_, parameters, nullptr)) {
    directory_.set(range_);
  }
  ~ExecutorTest() override { pool_.stop(); }

  std::unique_ptr<Channel> open() { return executor_->open_channel(42); }

  static proto::ExecRequest request() {
    proto::ExecRequest r;
    r.set_range(kRange.value);
    r.set_epoch(kEpoch.value);
    return r;
  }
  static proto::ExecRequest sql(std::string text, bool begin = false) {
    proto::ExecRequest r = request();
    r.mutable_run()->set_sql(std::move(text));
    r.mutable_run()->set_begin(begin);
    return r;
  }
  static proto::ExecRequest commit(std::uint64_t id = 1) {
    proto::ExecRequest r = request();
    r.mutable_commit()->set_request_id(id);
    return r;
  }
  static proto::ExecRequest rollback() {
    proto::ExecRequest r = request();
    r.mutable_rollback();
    return r;
  }
  static proto::ExecRequest savepoint(proto::Savepoint::Action action, std::string name) {
    proto::ExecRequest r = request();
    r.mutable_savepoint()->set_action(action);
    r.mutable_savepoint()->set_name(std::move(name));
    return r;
  }
  static proto::ExecRequest fetch(std::uint64_t portal, std::uint64_t rows = 0) {
    proto::ExecRequest r = request();
    r.mutable_fetch()->set_portal(portal);
    r.mutable_fetch()->set_max_rows(rows);
    return r;
  }

  Pending start(Channel& channel, proto::ExecRequest r) {
    auto out = std::make_shared<std::optional<proto::ExecReply>>();
    boost::asio::co_spawn(io_, store_reply(&channel, std::move(r), out), boost::asio::detached);
    io_.restart();
    io_.poll();
    return out;
  }
  /// Whether the reply has come by now.
  bool answered(const Pending& pending) {
    io_.restart();
    io_.poll();
    return pending->has_value();
  }
  proto::ExecReply finish(const Pending& pending) {
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!pending->has_value() && std::chrono::steady_clock::now() < give_up) {
      io_.restart();
      io_.run_one_for(std::chrono::milliseconds(100));
    }
    if (pending->has_value()) return **pending;
    ADD_FAILURE() << "no reply";
    proto::ExecReply none;
    none.mutable_error()->set_code("no reply");
    return none;
  }
  proto::ExecReply run(Channel& channel, proto::ExecRequest r) { return finish(start(channel, std::move(r))); }
  /// In a session of its own.
  proto::ExecReply run(std::string text) {
    const auto channel = open();
    return run(*channel, sql(std::move(text)));
  }
  std::string code(const proto::ExecReply& reply) { return reply.error().code(); }

  static std::vector<std::vector<Value>> rows(const proto::ExecReply& reply, int columns = -1) {
    RowReader reader(reply.rows(), static_cast<std::size_t>(columns < 0 ? reply.columns_size() : columns));
    std::vector<std::vector<Value>> all;
    std::vector<Value> row;
    while (!reader.done() && reader.next(row).ok()) all.push_back(row);
    return all;
  }
  std::int64_t number(std::string query) {
    const proto::ExecReply reply = run(std::move(query));
    const auto all = rows(reply);
    if (all.empty() || !std::holds_alternative<std::int64_t>(all[0][0])) return -1;
    return std::get<std::int64_t>(all[0][0]);
  }
  /// Until one SQL thread is free.
  void drain_sql_threads_once() {
    const auto both = std::make_shared<std::barrier<>>(2);
    pool_.post([both] { both->arrive_and_wait(); });
    both->arrive_and_wait();
  }
  /// Until the SQL threads have done what they were given.
  void drain_sql_threads() {
    const auto everyone = std::make_shared<std::barrier<>>(static_cast<std::ptrdiff_t>(threads_ + 1));
    for (std::size_t i = 0; i < threads_; ++i) pool_.post([everyone] { everyone->arrive_and_wait(); });
    everyone->arrive_and_wait();
  }

  const std::size_t threads_;
  TempDir dir_;
  ManualClock clock_;
  boost::asio::io_context io_;
  SqlPool pool_;
  FakeDirectory directory_;
  std::shared_ptr<FakeRange> range_;
  std::unique_ptr<Executor> executor_;
};

}  // namespace outlast::executor::testing
