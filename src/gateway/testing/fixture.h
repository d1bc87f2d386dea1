#pragma once
// A gateway whose leaseholders are scripted channels.
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>

#include "executor/testing/fake_range.h"
#include "gateway/cluster_impl.h"

namespace outlast::gateway::testing {
using namespace std::chrono_literals;
using executor::testing::ManualClock;
using Script = std::function<proto::ExecReply(const proto::ExecRequest&)>;

inline proto::ExecReply refuse(Errc code, bool nothing_applied = true) {
  proto::ExecReply reply;
  reply.mutable_error()->set_code(std::string(facts(code).name));
  reply.mutable_error()->set_message("scripted");
  reply.set_nothing_applied(nothing_applied);
  return reply;
}
inline proto::ExecReply fine(const proto::ExecRequest& request) {
  proto::ExecReply reply;
  reply.set_in_transaction(request.run().begin());
  return reply;
}

/// A leaseholder that answers by the book, then by `otherwise`.
struct FakeNode {
  std::deque<Script> script;
  std::vector<proto::ExecRequest> seen;
  bool alive{true};
  int interrupts{0}, open_channels{0};
};
class FakeChannel final : public executor::Channel {
 public:
  explicit FakeChannel(FakeNode& node) : node_(node) { ++node_.open_channels; }
  ~FakeChannel() override { --node_.open_channels; }
  boost::asio::awaitable<proto::ExecReply> call(proto::ExecRequest request) override {
    node_.seen.push_back(request);
    if (node_.script.empty()) co_return fine(request);
    const Script next = std::move(node_.script.front());
    node_.script.pop_front();
    proto::ExecReply reply = next(request);
    if (reply.error().code() == "unavailable") alive_ = false;
    co_return reply;
  }
  void interrupt() override { ++node_.interrupts; }
  bool alive() const override { return alive_ && node_.alive; }

 private:
  FakeNode& node_;
  bool alive_{true};
};

template <class T>
boost::asio::awaitable<void> store(boost::asio::awaitable<T> what, std::shared_ptr<std::optional<T>> out) {
  out->emplace(co_await std::move(what));
}

class GatewayTest : public ::testing::Test, public ChannelFactory {
 protected:
  static constexpr RangeId kRange{5};
  GatewayTest() {
    ClusterPorts ports;
    ports.node = NodeId(1);
    ports.incarnation = Incarnation(11);
    ports.partitions.tables = [](const std::string&) { return nullptr; };
    ports.partitions.has_range = [](RangeId range) { return range.value < 90; };
    ports.find_database = [this](const std::string& name) -> std::optional<DatabaseRow> {
      if (name != known_) return std::nullopt;
      return DatabaseRow{DatabaseId(2), name, kRange};
    };
    ports.setting = [](const std::string& name) -> Result<std::string> {
      if (name == "sql.defaults.idle_in_transaction_session_timeout") return std::string("7s");
      if (name == "sql.defaults.lock_timeout") return std::string("1500ms");
      return Error(Errc::kUndefinedObject, "unknown");
    };
    ports.create_database = [this](const std::string& name, Callback<DatabaseRow> done) {
      known_ = name;
      done(DatabaseRow{DatabaseId(2), name, kRange});
    };
    cluster_ = std::make_unique<ClusterImpl>(std::move(ports), routes_, *this, clock_,
                                             GatewayParameters{.patience = 30s, .retry_min = 1ms, .retry_max = 1ms});
    session_ = cluster_->open_session();
    lead(1);
    EXPECT_TRUE(await(session_->use_database("db")).ok());
  }
  Result<std::unique_ptr<executor::Channel>> open(NodeId node, Incarnation) override {
    return std::unique_ptr<executor::Channel>(std::make_unique<FakeChannel>(nodes_[node.value]));
  }
  void lead(std::uint32_t node) {
    routes_.update(kRange, Route{NodeId(node), Incarnation(node + 10), Epoch(++epoch_)});
  }
  template <class T>
  T await(boost::asio::awaitable<T> what) {
    auto out = std::make_shared<std::optional<T>>();
    boost::asio::co_spawn(io_, store(std::move(what), out), boost::asio::detached);
    const auto give_up = std::chrono::steady_clock::now() + 5s;
    while (!out->has_value() && std::chrono::steady_clock::now() < give_up) {
      io_.restart();
      io_.run_one_for(50ms);
    }
    EXPECT_TRUE(out->has_value()) << "no answer";
    return out->has_value() ? std::move(**out) : T(Error(Errc::kInternal, "no answer"));
  }
  void await_void(boost::asio::awaitable<void> what) {
    boost::asio::co_spawn(io_, std::move(what), boost::asio::detached);
    io_.restart();
    io_.run_for(50ms);
  }
  Errc run(std::string sql, std::string tag = "INSERT") {
    const Result<Rows> rows = await(session_->run({.sql = std::move(sql), .tag = std::move(tag)}));
    return rows.ok() ? kFine : rows.error().code;
  }
  Errc commit() {
    const Result<bool> done = await(session_->commit());
    return done.ok() ? kFine : done.error().code;
  }
  void at(std::uint32_t node, Script script) { nodes_[node].script.push_back(std::move(script)); }
  void at(std::uint32_t node, Errc code, bool nothing_applied = true) {
    at(node, [code, nothing_applied](const auto&) { return refuse(code, nothing_applied); });
  }
  std::size_t calls(std::uint32_t node) { return nodes_[node].seen.size(); }

  static constexpr Errc kFine = static_cast<Errc>(9999);
  boost::asio::io_context io_;
  ManualClock clock_;
  RouteTable routes_;
  std::map<std::uint32_t, FakeNode> nodes_;
  std::uint64_t epoch_{0};
  std::string known_{"db"};
  std::unique_ptr<ClusterImpl> cluster_;
  std::unique_ptr<Session> session_;
};

}  // namespace outlast::gateway::testing
