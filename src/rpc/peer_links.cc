#include "rpc/peer_links.h"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>

#include "rpc/wire_stream.h"

namespace outlast::rpc {
namespace asio = boost::asio;
using proto::RangeMessage;
using Tcp = asio::ip::tcp;
using namespace std::chrono_literals;

namespace {
constexpr std::size_t kReadBytes = 64 << 10;
constexpr auto kConnectPatience = 5s;

bool is_answer(const RangeMessage& message) {
  switch (message.body_case()) {
    case RangeMessage::kAppendAck:
    case RangeMessage::kMismatch:
    case RangeMessage::kActivateAck:
    case RangeMessage::kFetch:
    case RangeMessage::kSnapshotAck:
    case RangeMessage::kRefused:
    case RangeMessage::kEpochConfirmed:
      return true;
    default:
      return false;
  }
}
}  // namespace

struct PeerLinks::Link {
  PeerAddress address;
  std::shared_ptr<Attempt> attempt;
  bool up{false};
  Loop::TimerId retry{0};
  Duration backoff{20ms};
};

struct PeerLinks::Shared : std::enable_shared_from_this<PeerLinks::Shared> {
  Shared(Loop& l, asio::any_io_executor e, Hello h, Events v)
      : loop(l), executor(std::move(e)), self(std::move(h)), events(std::move(v)) {}
  Loop& loop;
  const asio::any_io_executor executor;
  const Hello self;
  Events events;
  bool stopped{false};           // on the loop
  std::map<NodeId, Link> links;  // on the loop
  std::mutex mutex;
  std::map<NodeId, std::shared_ptr<WireStream>> ready_out, in;  // under mutex

  /// False for bytes that are no messages.
  bool deliver(NodeId from, Incarnation incarnation, WireStream::Frames frames) {
    std::vector<RangeMessage> batch(frames.size());
    for (std::size_t i = 0; i < frames.size(); ++i)
      if (!batch[i].ParseFromArray(frames[i].data(), static_cast<int>(frames[i].size()))) return false;
    loop.post([me = shared_from_this(), from, incarnation, batch = std::move(batch)]() mutable {
      for (RangeMessage& message : batch)
        if (!me->stopped) me->events.message(from, incarnation, std::move(message));
    });
    return true;
  }
  void connect(NodeId node);
  void opened(NodeId node, const std::shared_ptr<Attempt>& attempt, std::shared_ptr<WireStream> stream);
  void ended(NodeId node, const std::shared_ptr<Attempt>& attempt, const Error& why);
  void forget_in(NodeId node, const WireStream* stream) {
    const std::lock_guard lock(mutex);
    if (const auto it = in.find(node); it != in.end() && it->second.get() == stream) in.erase(it);
  }
};

/// One try to have a stream to a peer, from the connection to its end. Everything on its strand but for cancel().
class PeerLinks::Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(std::shared_ptr<Shared> shared, NodeId node, PeerAddress to)
      : shared_(std::move(shared)),
        node_(node),
        to_(std::move(to)),
        strand_(asio::make_strand(shared_->executor)),
        socket_(strand_) {}

  void start() { asio::co_spawn(strand_, open(shared_from_this()), asio::detached); }
  void cancel() {
    asio::post(strand_, [self = shared_from_this()] {
      self->cancelled_ = true;
      if (self->stream_) self->stream_->close();
      self->give_up();
    });
  }

 private:
  void give_up() {
    boost::system::error_code ignored;
    socket_.close(ignored);
  }
  static asio::awaitable<void> open(std::shared_ptr<Attempt> self) {
    proto::WireHello hello;
    hello.set_cluster(self->shared_->self.cluster);
    hello.set_node(self->shared_->self.node.value);
    hello.set_incarnation(self->shared_->self.incarnation.value);
    hello.set_to_node(self->node_.value);
    hello.set_to_incarnation(self->to_.incarnation.value);
    hello.set_stream(proto::WireHello::REPLICATE);
    Patience patience(self->socket_, kConnectPatience);
    const Result<void> open = co_await open_wire(self->socket_, self->to_.address, std::move(hello));
    patience.good();
    if (open.ok() && !self->cancelled_)
      self->run();
    else
      self->tell_ended(open.ok() ? Error(Errc::kUnavailable, "the peer is not wanted any more") : open.error());
  }
  void run() {
    stream_ = std::make_shared<WireStream>(std::move(socket_), WireStream::Sends::kTogether, kReadBytes);
    shared_->loop.post(
        [self = shared_from_this(), stream = stream_] { self->shared_->opened(self->node_, self, stream); });
    stream_->start([shared = shared_, node = node_, incarnation = to_.incarnation](
                       WireStream::Frames frames) { return shared->deliver(node, incarnation, frames); },
                   [weak = weak_from_this()](const Error& why) {
                     if (const auto self = weak.lock()) self->tell_ended(why);
                   });
  }
  void tell_ended(const Error& why) {
    shared_->loop.post([self = shared_from_this(), why] { self->shared_->ended(self->node_, self, why); });
  }

  const std::shared_ptr<Shared> shared_;
  const NodeId node_;
  const PeerAddress to_;
  asio::strand<asio::any_io_executor> strand_;
  Tcp::socket socket_;
  std::shared_ptr<WireStream> stream_;
  bool cancelled_{false};
};

void PeerLinks::Shared::connect(NodeId node) {
  const auto it = links.find(node);
  if (stopped || it == links.end()) return;
  Link& link = it->second;
  link.retry = 0;
  link.attempt = std::make_shared<Attempt>(shared_from_this(), node, link.address);
  link.attempt->start();
}

void PeerLinks::Shared::opened(NodeId node, const std::shared_ptr<Attempt>& attempt,
                               std::shared_ptr<WireStream> stream) {
  const auto it = links.find(node);
  if (stopped || it == links.end() || it->second.attempt != attempt) return;
  it->second.up = true;
  it->second.backoff = 20ms;
  {
    const std::lock_guard lock(mutex);
    ready_out[node] = std::move(stream);
  }
  events.up(node, it->second.address.incarnation);
}

void PeerLinks::Shared::ended(NodeId node, const std::shared_ptr<Attempt>& attempt, const Error& why) {
  const auto it = links.find(node);
  if (stopped || it == links.end() || it->second.attempt != attempt) return;
  Link& link = it->second;
  link.attempt.reset();
  {
    const std::lock_guard lock(mutex);
    ready_out.erase(node);
  }
  if (link.up) {
    spdlog::debug("rpc: the stream to node {} ended: {}", node.value, why.message);
    link.up = false;
    events.down(node);
  }
  const auto still = links.find(node);
  if (still == links.end() || still->second.attempt) return;  // the event took the peer away
  still->second.retry = loop.after(still->second.backoff, [me = shared_from_this(), node] { me->connect(node); });
  still->second.backoff = std::min<Duration>(still->second.backoff * 2, 500ms);
}

PeerLinks::PeerLinks(Loop& loop, asio::any_io_executor executor, Hello self, Events events)
    : shared_(std::make_shared<Shared>(loop, std::move(executor), std::move(self), std::move(events))) {}
PeerLinks::~PeerLinks() = default;

void PeerLinks::set_peers(std::map<NodeId, PeerAddress> peers) {
  Shared& s = *shared_;
  for (auto it = s.links.begin(); it != s.links.end();) {
    const auto wanted = peers.find(it->first);
    if (wanted != peers.end() && wanted->second == it->second.address) {
      ++it;
      continue;
    }
    Link old = std::move(it->second);
    const NodeId node = it->first;
    it = s.links.erase(it);
    if (old.retry != 0) s.loop.cancel(old.retry);
    {
      const std::lock_guard lock(s.mutex);
      s.ready_out.erase(node);
    }
    if (old.attempt) old.attempt->cancel();
    if (old.up) s.events.down(node);
  }
  for (auto& [node, address] : peers)
    if (node != s.self.node && !s.links.contains(node)) {
      s.links[node].address = address;
      s.connect(node);
    }
}

void PeerLinks::send(NodeId to, RangeMessage message) {
  std::shared_ptr<WireStream> stream;
  {
    const std::lock_guard lock(shared_->mutex);
    auto& streams = is_answer(message) ? shared_->in : shared_->ready_out;
    if (const auto it = streams.find(to); it != streams.end()) stream = it->second;
  }
  if (stream) stream->send(message);
}

std::shared_ptr<Connection> PeerLinks::accept(Tcp::socket socket, const Hello& peer) {
  const auto strand = asio::make_strand(shared_->executor);
  boost::system::error_code error;
  const auto local = socket.local_endpoint(error);
  if (error) return nullptr;  // it is gone already
  Tcp::socket moved(strand, local.protocol(), socket.release());
  auto stream = std::make_shared<WireStream>(std::move(moved), WireStream::Sends::kTogether, kReadBytes);
  std::shared_ptr<WireStream> replaced;
  {
    const std::lock_guard lock(shared_->mutex);
    replaced = std::exchange(shared_->in[peer.node], stream);
  }
  if (replaced) replaced->close();
  asio::post(strand, [shared = shared_, stream, peer] {
    stream->start(
        [shared, peer](WireStream::Frames frames) { return shared->deliver(peer.node, peer.incarnation, frames); },
        [shared, peer, raw = stream.get()](const Error&) { shared->forget_in(peer.node, raw); });
  });
  return stream;
}

void PeerLinks::stop() {
  shared_->stopped = true;
  std::map<NodeId, std::shared_ptr<WireStream>> in;
  {
    const std::lock_guard lock(shared_->mutex);
    in.swap(shared_->in);
    shared_->ready_out.clear();
  }
  for (auto& [node, link] : shared_->links) {
    if (link.retry != 0) shared_->loop.cancel(link.retry);
    if (link.attempt) link.attempt->cancel();
  }
  shared_->links.clear();
  for (auto& [node, stream] : in) stream->close();
}

}  // namespace outlast::rpc
