#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>
#include <future>

#include "../tests/support/sim_loop.h"
#include "rpc/client.h"
#include "rpc/remote_channel.h"
#include "rpc/server.h"

namespace outlast::rpc {
namespace {
namespace asio = boost::asio;
using namespace std::chrono_literals;
using testing_support::SimLoop;

/// Answers with the SQL text; "hold" waits for interrupt(); "die" is answered only after release().
class EchoChannel final : public executor::Channel {
 public:
  explicit EchoChannel(std::shared_ptr<std::atomic<int>> open) : open_(std::move(open)) { ++*open_; }
  ~EchoChannel() override { --*open_; }
  asio::awaitable<proto::ExecReply> call(proto::ExecRequest request) override {
    proto::ExecReply reply;
    reply.set_rows(request.run().sql());
    if (request.run().sql() == "hold") {
      asio::steady_timer timer(co_await asio::this_coro::executor);
      while (!interrupted_) {
        timer.expires_after(1ms);
        co_await timer.async_wait(asio::use_awaitable);
      }
      reply.mutable_error()->set_code("cancelled");
    }
    co_return reply;
  }
  void interrupt() override { interrupted_ = true; }
  bool alive() const override { return true; }

 private:
  std::shared_ptr<std::atomic<int>> open_;
  std::atomic<bool> interrupted_{false};
};

struct Node {  // one node's rpc room: links, server, and what its links told
  Node(SimLoop& sim, std::uint32_t id, asio::thread_pool& pool) : self{"test", NodeId(id), Incarnation(1)}, loop(sim) {
    links = std::make_unique<PeerLinks>(
        loop, pool.get_executor(), pool.get_executor(), self,
        PeerLinks::Events{
            [this](NodeId n, Incarnation) { up.push_back(n); }, [this](NodeId n) { down.push_back(n); },
            [this](NodeId from, Incarnation, proto::RangeMessage&& m) { heard.emplace_back(from, std::move(m)); }});
    start(pool, "127.0.0.1:0");
  }
  ~Node() {
    links->stop();
    server->stop();
    loop.run_ready();
  }
  void start(asio::thread_pool& pool, const std::string& address) {
    Services services;
    services.self = self;
    services.links = links.get();
    services.open_channel = [this](const Hello&) { return std::make_unique<EchoChannel>(channels); };
    services.place = [](const proto::PlaceRequest& request, Callback<void> done) {
      if (request.range() == 7)
        done({});
      else
        done(Error(Errc::kNotLeaseholder, "range is led elsewhere"));
    };
    services.digest = [](const proto::DigestRequest&, Callback<proto::DigestReply> done) {
      done(proto::DigestReply());
    };
    services.node_status = [](const proto::NodeStatusRequest&, Callback<proto::NodeStatusReply> done) {
      done(proto::NodeStatusReply());
    };
    services.ranges = [](const proto::RangesRequest&, Callback<proto::RangesReply> done) {
      done(proto::RangesReply());
    };
    services.range = [](const proto::RangeRequest&, Callback<proto::RangeReply>) {};  // dropped, as when a node stops
    services.stop = [](const proto::StopRequest&, Callback<proto::StopReply> done) { done(proto::StopReply()); };
    services.admit = [](const Hello& hello) -> Result<void> {
      if (hello.node == NodeId(13)) return Error(Errc::kFenced, "node 13 was decommissioned");
      return {};
    };
    server = Server::start(address, services, {pool.get_executor()}).value();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(server->port()); }

  Hello self;
  SimLoop& loop;
  std::shared_ptr<std::atomic<int>> channels = std::make_shared<std::atomic<int>>(0);
  std::vector<NodeId> up, down;
  std::vector<std::pair<NodeId, proto::RangeMessage>> heard;
  std::unique_ptr<PeerLinks> links;
  std::unique_ptr<Server> server;
};

class RpcTest : public testing::Test {
 protected:
  proto::ExecReply call(executor::Channel& channel, const std::string& sql) {
    proto::ExecRequest request;
    request.mutable_run()->set_sql(sql);
    return asio::co_spawn(pool_, channel.call(std::move(request)), asio::use_future).get();
  }
  void connect(Node& from, const Node& to, Incarnation incarnation = Incarnation(1)) {
    from.links->set_peers({{to.self.node, {to.address(), incarnation}}});
  }
  static proto::RangeMessage append(std::uint64_t lsn) {
    proto::RangeMessage message;
    message.mutable_append()->set_durable_lsn(lsn);
    return message;
  }
  SimLoop loop_;
  asio::thread_pool pool_{2};
  Node a_{loop_, 1, pool_}, b_{loop_, 2, pool_};
};

TEST_F(RpcTest, LinksKeepTheOrderAndAnswersComeBackOverTheSameStream) {
  connect(a_, b_);
  ASSERT_TRUE(loop_.run_until([&] { return !a_.up.empty(); }));
  for (std::uint64_t i = 1; i <= 500; ++i) a_.links->send(NodeId(2), append(i));
  ASSERT_TRUE(loop_.run_until([&] { return b_.heard.size() == 500; }));
  for (std::uint64_t i = 1; i <= 500; ++i) ASSERT_EQ(b_.heard[i - 1].second.append().durable_lsn(), i);
  proto::RangeMessage ack;
  ack.mutable_append_ack()->set_synced_lsn(500);
  b_.links->send(NodeId(1), ack);  // b never opened a stream to a
  ASSERT_TRUE(loop_.run_until([&] { return !a_.heard.empty(); }));
  EXPECT_EQ(a_.heard[0].first, NodeId(2));
}

TEST_F(RpcTest, PiecesOfSnapshotsGoAsideAndTakeTheLinkWithThemWhenTheirWayBreaks) {
  connect(a_, b_);
  ASSERT_TRUE(loop_.run_until([&] { return !a_.up.empty(); }));
  proto::RangeMessage piece;
  for (std::uint64_t i = 1; i <= 50; ++i) {
    piece.mutable_snapshot_chunk()->set_offset(i);
    piece.mutable_snapshot_chunk()->set_data(std::string(100'000, 'p'));
    a_.links->send_bulk(NodeId(2), piece, i > 1);
  }
  ASSERT_TRUE(loop_.run_until([&] { return b_.heard.size() == 50; }));
  for (std::uint64_t i = 2; i < 50; ++i)
    ASSERT_EQ(b_.heard[i].second.snapshot_chunk().offset(), b_.heard[i - 1].second.snapshot_chunk().offset() + 1);
  // Somebody else opens that way to b as a: the piece that went over the broken one is lost, and the link says so.
  asio::co_spawn(
      pool_,
      [](std::string to) -> asio::awaitable<void> {
        asio::ip::tcp::socket socket(co_await asio::this_coro::executor);
        proto::WireHello hello;
        hello.set_cluster("test");
        hello.set_node(1), hello.set_incarnation(1), hello.set_to_node(2), hello.set_to_incarnation(1);
        hello.set_stream(kBulk);
        EXPECT_TRUE((co_await open_wire(socket, to, hello)).ok());
      }(b_.address()),
      asio::use_future)
      .get();
  for (int i = 0; i < 200 && a_.up.size() < 2; ++i)
    loop_.run_until([&] { return a_.up.size() == 2; }, 50ms), loop_.advance(500ms);
  ASSERT_EQ(a_.up.size(), 2U);
  EXPECT_EQ(a_.down.size(), 1U);
  a_.links->send_bulk(NodeId(2), piece, true);
  EXPECT_TRUE(loop_.run_until([&] { return b_.heard.size() == 51; }));
}

TEST_F(RpcTest, ALinkToAnotherIncarnationNeverComesUp) {
  connect(a_, b_, Incarnation(99));
  for (int i = 0; i < 5; ++i) loop_.run_until([] { return false; }, 20ms), loop_.advance(1s);
  EXPECT_TRUE(a_.up.empty());
}

TEST_F(RpcTest, ABrokenLinkIsToldAndComesBack) {
  connect(a_, b_);
  ASSERT_TRUE(loop_.run_until([&] { return a_.up.size() == 1; }));
  const std::string address = b_.address();
  b_.server.reset();
  ASSERT_TRUE(loop_.run_until([&] { return a_.down.size() == 1; }));
  b_.start(pool_, address);
  for (int i = 0; i < 200 && a_.up.size() < 2; ++i)
    loop_.run_until([&] { return a_.up.size() == 2; }, 50ms), loop_.advance(500ms);
  EXPECT_EQ(a_.up.size(), 2U);
  a_.links->send(NodeId(2), append(9));
  EXPECT_TRUE(loop_.run_until([&] { return !b_.heard.empty(); }));
}

TEST_F(RpcTest, AChannelAnswersInTurnAndEndsWithItsOwner) {
  RemoteChannels remote(a_.self);
  {
    auto channel = remote.open(NodeId(2), Incarnation(1), b_.address());
    for (const char* text : {"one", "two", "three"}) EXPECT_EQ(call(*channel, text).rows(), text);
    EXPECT_EQ(*b_.channels, 1);
  }
  while (*b_.channels != 0) std::this_thread::yield();
}

TEST_F(RpcTest, AnInterruptReachesTheRunningRequest) {
  RemoteChannels remote(a_.self);
  auto channel = remote.open(NodeId(2), Incarnation(1), b_.address());
  EXPECT_EQ(call(*channel, "warm").rows(), "warm");
  proto::ExecRequest request;
  request.mutable_run()->set_sql("hold");
  auto held = asio::co_spawn(pool_, channel->call(std::move(request)), asio::use_future);
  channel->interrupt();
  while (held.wait_for(5ms) != std::future_status::ready) channel->interrupt();
  EXPECT_EQ(held.get().error().code(), "cancelled");
  EXPECT_EQ(call(*channel, "after").rows(), "after");
}

TEST_F(RpcTest, ACallThatNeverReachedTheNodeSaysSo) {
  RemoteChannels remote(a_.self);
  const auto nobody = remote.open(NodeId(2), Incarnation(1), "127.0.0.1:1");
  const auto reply = call(*nobody, "x");
  EXPECT_EQ(reply.error().code(), "unavailable");
  EXPECT_TRUE(reply.nothing_applied());
  const auto stranger = remote.open(NodeId(2), Incarnation(5), b_.address());
  EXPECT_TRUE(call(*stranger, "x").nothing_applied());
}

TEST_F(RpcTest, AFencedIncarnationsChannelsBreakWithoutItsHelp) {
  RemoteChannels remote(a_.self);
  auto channel = remote.open(NodeId(2), Incarnation(1), b_.address());
  EXPECT_EQ(call(*channel, "warm").rows(), "warm");
  proto::ExecRequest request;
  request.mutable_run()->set_sql("hold");
  auto held = asio::co_spawn(pool_, channel->call(std::move(request)), asio::use_future);
  remote.fence(NodeId(2), Incarnation(1));
  const auto reply = held.get();
  EXPECT_EQ(reply.error().code(), "unavailable");
  EXPECT_FALSE(channel->alive());
  EXPECT_TRUE(call(*remote.open(NodeId(2), Incarnation(1), b_.address()), "x").nothing_applied());
}

TEST_F(RpcTest, CallsFromOtherClustersAndDecommissionedNodesAreRefused) {
  RemoteChannels foreign({"other", NodeId(1), Incarnation(1)});
  EXPECT_EQ(call(*foreign.open(NodeId(2), Incarnation(1), b_.address()), "x").error().code(), "wrong_cluster");
  RemoteChannels gone({"test", NodeId(13), Incarnation(1)});
  EXPECT_EQ(call(*gone.open(NodeId(2), Incarnation(1), b_.address()), "x").error().code(), "fenced");
}

TEST_F(RpcTest, WhatIsNoStreamAndNoCallHarmsNobody) {
  asio::io_context io;
  const auto connected = [&] {
    asio::ip::tcp::socket socket(io);
    socket.connect({asio::ip::make_address("127.0.0.1"), static_cast<std::uint16_t>(b_.server->port())});
    return socket;
  };
  auto silent = connected(), half = connected(), rubbish = connected(), slow = connected();
  asio::write(half, asio::buffer("OL", 2));
  asio::write(rubbish, asio::buffer("OLW1\xff\xff\xff\xff", 8));
  for (const char byte : kWireMagic) asio::write(slow, asio::buffer(&byte, 1));
  RemoteChannels remote(a_.self);
  EXPECT_EQ(call(*remote.open(NodeId(2), Incarnation(1), b_.address()), "still here").rows(), "still here");
  char byte = 0;
  boost::system::error_code error;
  // A refusal says why, then the connection ends.
  while (!error) asio::read(rubbish, asio::buffer(&byte, 1), error);
  EXPECT_EQ(error, asio::error::eof);
}

TEST_F(RpcTest, ALargeAnswerAndALargeRequestArriveWhole) {
  RemoteChannels remote(a_.self);
  const auto channel = remote.open(NodeId(2), Incarnation(1), b_.address());
  const std::string large(20 << 20, 'x');
  EXPECT_EQ(call(*channel, large).rows(), large);
  EXPECT_EQ(call(*channel, "small").rows(), "small");
}

TEST_F(RpcTest, PlaceCarriesTheLeaseholdersAnswer) {
  Client client(a_.self);
  const auto ask = [&](std::uint64_t range) {
    std::promise<Result<void>> done;
    proto::PlaceRequest request;
    request.set_range(range);
    client.place({NodeId(2), Incarnation(1), b_.address()}, request, 5s,
                 [&](Result<void> r) { done.set_value(std::move(r)); });
    return done.get_future().get();
  };
  EXPECT_TRUE(ask(7).ok());
  EXPECT_EQ(ask(8).error().code, Errc::kNotLeaseholder);
  AdminClient admin(b_.address());
  EXPECT_TRUE(admin.node_status(5s).ok());
  EXPECT_TRUE(admin.ranges(5s).ok());
  EXPECT_EQ(admin.range(RangeId(1), 5s).error().code, Errc::kUnavailable);
  EXPECT_EQ(AdminClient("127.0.0.1:1").node_status(1s).error().code, Errc::kUnavailable);
}

}  // namespace
}  // namespace outlast::rpc
