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
  std::shared_ptr<Attempt> attempt, bulk;
  bool up{false};
  Loop::TimerId retry{0};
  Duration backoff{20ms};
};

struct PeerLinks::Shared : std::enable_shared_from_this<PeerLinks::Shared> {
  /// Where the pieces of snapshots for one peer go while its stream is up.
  struct Bulk {
    std::shared_ptr<WireStream> stream;
    std::vector<PieceFrame> waiting;  ///< Until it is open.
    bool none{false};                 ///< It could not be opened: they go over the stream.
  };
  Shared(Loop& l, asio::any_io_executor e, asio::any_io_executor b, Hello h, Events v)
      : loop(l), executor(std::move(e)), bulk_executor(std::move(b)), self(std::move(h)), events(std::move(v)) {}
  Loop& loop;
  const asio::any_io_executor executor, bulk_executor;
  const Hello self;
  Events events;
  bool stopped{false};           // on the loop
  std::map<NodeId, Link> links;  // on the loop
  std::mutex mutex;
  std::map<NodeId, std::shared_ptr<WireStream>> ready_out, in, bulk_in;  // under mutex
  std::map<NodeId, Bulk> bulk_out;                                       // under mutex

  /// False for bytes that are no messages.
  bool deliver(NodeId from, Incarnation incarnation, WireStream::Frames frames) {
    std::vector<RangeMessage> batch(frames.size());
    for (std::size_t i = 0; i < frames.size(); ++i) {
      auto& [bytes, data] = frames[i];
      if (!batch[i].ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
      if (!data.empty()) batch[i].mutable_snapshot_chunk()->set_data(std::move(data));
    }
    loop.post([me = shared_from_this(), from, incarnation, batch = std::move(batch)]() mutable {
      for (RangeMessage& message : batch)
        if (!me->stopped) me->events.message(from, incarnation, std::move(message));
    });
    return true;
  }
  void connect(NodeId node);
  void opened(NodeId node, const std::shared_ptr<Attempt>& attempt, std::shared_ptr<WireStream> stream);
  void ended(NodeId node, const std::shared_ptr<Attempt>& attempt, const Error& why);
  void connect_bulk(NodeId node);
  void bulk_opened(NodeId node, const std::shared_ptr<Attempt>& attempt, std::shared_ptr<WireStream> stream);
  void bulk_ended(NodeId node, const std::shared_ptr<Attempt>& attempt);
  void forget_out(NodeId node, Link& link);
  void forget_in(NodeId node, const WireStream* stream) {
    const std::lock_guard lock(mutex);
    for (auto* streams : {&in, &bulk_in})
      if (const auto it = streams->find(node); it != streams->end() && it->second.get() == stream) streams->erase(it);
  }
};

/// One try to have a stream to a peer, from the connection to its end. Everything on its strand but for cancel().
class PeerLinks::Attempt : public std::enable_shared_from_this<Attempt> {
 public:
  Attempt(std::shared_ptr<Shared> shared, NodeId node, PeerAddress to, bool bulk)
      : shared_(std::move(shared)),
        node_(node),
        to_(std::move(to)),
        bulk_(bulk),
        strand_(asio::make_strand(bulk ? shared_->bulk_executor : shared_->executor)),
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
    hello.set_stream(self->bulk_ ? kBulk : proto::WireHello::REPLICATE);
    Patience patience(self->socket_, kConnectPatience);
    const Result<void> open = co_await open_wire(self->socket_, self->to_.address, std::move(hello));
    patience.good();
    if (open.ok() && !self->cancelled_)
      self->run();
    else
      self->tell_ended(open.ok() ? Error(Errc::kUnavailable, "the peer is not wanted any more") : open.error());
  }
  void run() {
    stream_ = std::make_shared<WireStream>(std::move(socket_), WireStream::Sends::kTogether, kReadBytes, true);
    shared_->loop.post([self = shared_from_this(), stream = stream_] {
      if (self->bulk_)
        self->shared_->bulk_opened(self->node_, self, stream);
      else
        self->shared_->opened(self->node_, self, stream);
    });
    stream_->start([shared = shared_, node = node_, incarnation = to_.incarnation](
                       WireStream::Frames frames) { return shared->deliver(node, incarnation, frames); },
                   [weak = weak_from_this()](const Error& why) {
                     if (const auto self = weak.lock()) self->tell_ended(why);
                   });
  }
  void tell_ended(const Error& why) {
    shared_->loop.post([self = shared_from_this(), why] {
      if (self->bulk_)
        self->shared_->bulk_ended(self->node_, self);
      else
        self->shared_->ended(self->node_, self, why);
    });
  }

  const std::shared_ptr<Shared> shared_;
  const NodeId node_;
  const PeerAddress to_;
  const bool bulk_;
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
  link.attempt = std::make_shared<Attempt>(shared_from_this(), node, link.address, false);
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
    bulk_out[node] = {};
  }
  events.up(node, it->second.address.incarnation);
}

void PeerLinks::Shared::ended(NodeId node, const std::shared_ptr<Attempt>& attempt, const Error& why) {
  const auto it = links.find(node);
  if (stopped || it == links.end() || it->second.attempt != attempt) return;
  Link& link = it->second;
  link.attempt.reset();
  forget_out(node, link);
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

/// Nothing is sent over it any more.
void PeerLinks::Shared::forget_out(NodeId node, Link& link) {
  {
    const std::lock_guard lock(mutex);
    ready_out.erase(node);
    bulk_out.erase(node);
  }
  if (const auto bulk = std::exchange(link.bulk, nullptr)) bulk->cancel();
}

void PeerLinks::Shared::connect_bulk(NodeId node) {
  const auto it = links.find(node);
  if (stopped || it == links.end() || !it->second.up || it->second.bulk) return;
  it->second.bulk = std::make_shared<Attempt>(shared_from_this(), node, it->second.address, true);
  it->second.bulk->start();
}

void PeerLinks::Shared::bulk_opened(NodeId node, const std::shared_ptr<Attempt>& attempt,
                                    std::shared_ptr<WireStream> stream) {
  const auto it = links.find(node);
  if (stopped || it == links.end() || it->second.bulk != attempt) return;
  const std::lock_guard lock(mutex);
  Bulk& out = bulk_out[node];
  for (PieceFrame& piece : std::exchange(out.waiting, {})) stream->send_piece(std::move(piece));
  out.stream = std::move(stream);
}

/// Pieces that were on their way are lost, which only the end of the stream tells. One that never opened has lost none.
void PeerLinks::Shared::bulk_ended(NodeId node, const std::shared_ptr<Attempt>& attempt) {
  const auto it = links.find(node);
  if (stopped || it == links.end() || it->second.bulk != attempt) return;
  it->second.bulk.reset();
  const std::lock_guard lock(mutex);
  Bulk& out = bulk_out[node];
  if (out.stream) {
    if (it->second.attempt) it->second.attempt->cancel();
    return;
  }
  out.none = true;
  for (PieceFrame& piece : std::exchange(out.waiting, {}))
    if (const auto ready = ready_out.find(node); ready != ready_out.end()) ready->second->send_piece(std::move(piece));
}

PeerLinks::PeerLinks(Loop& loop, asio::any_io_executor executor, asio::any_io_executor bulk, Hello self, Events events)
    : shared_(
          std::make_shared<Shared>(loop, std::move(executor), std::move(bulk), std::move(self), std::move(events))) {}
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
    s.forget_out(node, old);
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

void PeerLinks::send_bulk(NodeId to, RangeMessage message, bool aside) {
  PieceFrame piece = frame_of_piece(std::move(message));
  std::shared_ptr<WireStream> stream;
  {
    const std::lock_guard lock(shared_->mutex);
    const auto bulk = shared_->bulk_out.find(to);
    if (bulk == shared_->bulk_out.end()) return;
    if (!aside || bulk->second.none) {
      stream = shared_->ready_out.at(to);
    } else if (bulk->second.stream) {
      stream = bulk->second.stream;
    } else {
      bulk->second.waiting.push_back(std::move(piece));
    }
  }
  if (stream) return stream->send_piece(std::move(piece));
  shared_->loop.post([shared = shared_, to] { shared->connect_bulk(to); });
}

std::shared_ptr<Connection> PeerLinks::accept(Tcp::socket socket, const Hello& peer, bool bulk) {
  const auto strand = asio::make_strand(bulk ? shared_->bulk_executor : shared_->executor);
  boost::system::error_code error;
  const auto local = socket.local_endpoint(error);
  if (error) return nullptr;  // it is gone already
  Tcp::socket moved(strand, local.protocol(), socket.release());
  auto stream = std::make_shared<WireStream>(std::move(moved), WireStream::Sends::kTogether, kReadBytes, true);
  std::shared_ptr<WireStream> replaced;
  {
    const std::lock_guard lock(shared_->mutex);
    replaced = std::exchange((bulk ? shared_->bulk_in : shared_->in)[peer.node], stream);
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
  std::map<NodeId, std::shared_ptr<WireStream>> in, bulk_in;
  {
    const std::lock_guard lock(shared_->mutex);
    in.swap(shared_->in);
    bulk_in.swap(shared_->bulk_in);
  }
  for (auto& [node, link] : shared_->links) {
    if (link.retry != 0) shared_->loop.cancel(link.retry);
    if (link.attempt) link.attempt->cancel();
    shared_->forget_out(node, link);
  }
  shared_->links.clear();
  for (auto* streams : {&in, &bulk_in})
    for (auto& [node, stream] : *streams) stream->close();
}

}  // namespace outlast::rpc
