#include "rpc/peer_links.h"

#include <spdlog/spdlog.h>

namespace outlast::rpc {
using proto::RangeMessage;
using proto::RangeMessages;
using namespace std::chrono_literals;

namespace {
constexpr std::size_t kBatchBytes = 1 << 20;

bool is_answer(const RangeMessage& message) {
  switch (message.body_case()) {
    case RangeMessage::kAppendAck:
    case RangeMessage::kMismatch:
    case RangeMessage::kActivateAck:
    case RangeMessage::kFetch:
    case RangeMessage::kSnapshotAck:
    case RangeMessage::kRefused:
      return true;
    default:
      return false;
  }
}

/// What waits to be written on one stream; taken in batches.
class Outbox {
 public:
  void push(RangeMessage message) { *waiting_.add_messages() = std::move(message); }
  bool empty() const { return waiting_.messages_size() == 0; }
  /// Moves the next batch into `out`.
  void take(RangeMessages& out) {
    out.Clear();
    std::size_t bytes = 0;
    int n = 0;
    while (n < waiting_.messages_size() && bytes < kBatchBytes) bytes += waiting_.messages(n++).ByteSizeLong();
    if (n == waiting_.messages_size()) {
      out.Swap(&waiting_);
      return;
    }
    for (int i = 0; i < n; ++i) *out.add_messages() = std::move(*waiting_.mutable_messages(i));
    waiting_.mutable_messages()->DeleteSubrange(0, n);
  }

 private:
  RangeMessages waiting_;
};
}  // namespace

struct PeerLinks::Link {
  PeerAddress address;
  std::unique_ptr<proto::Peer::Stub> stub;
  std::shared_ptr<OutStream> stream;
  bool up{false};
  Loop::TimerId retry{0};
  Duration backoff{20ms};
};

struct PeerLinks::Shared : std::enable_shared_from_this<PeerLinks::Shared> {
  Shared(Loop& l, Hello h, Events e) : loop(l), self(std::move(h)), events(std::move(e)) {}
  Loop& loop;
  const Hello self;
  Events events;
  bool stopped{false};           // on the loop
  std::map<NodeId, Link> links;  // on the loop
  std::mutex mutex;
  std::map<NodeId, std::shared_ptr<OutStream>> ready_out;  // under mutex
  std::map<NodeId, std::shared_ptr<InStream>> in;          // under mutex

  void deliver(NodeId from, Incarnation incarnation, RangeMessages&& batch) {
    loop.post([self_ = shared_from_this(), from, incarnation, batch = std::move(batch)]() mutable {
      if (self_->stopped) return;
      for (RangeMessage& message : *batch.mutable_messages())
        self_->events.message(from, incarnation, std::move(message));
    });
  }
  void connect(NodeId node);
  void opened(NodeId node, const std::shared_ptr<OutStream>& stream);
  void ended(NodeId node, const std::shared_ptr<OutStream>& stream, const grpc::Status& status);
};

/// The stream that this node opened. Owns itself until OnDone.
class PeerLinks::OutStream final : public grpc::ClientBidiReactor<RangeMessages, RangeMessages>,
                                   public std::enable_shared_from_this<OutStream> {
 public:
  OutStream(std::shared_ptr<Shared> shared, NodeId node, Incarnation incarnation)
      : shared_(std::move(shared)), node_(node), incarnation_(incarnation) {}

  void start(proto::Peer::Stub& stub) {
    keep_ = shared_from_this();
    say_hello(context_, shared_->self, node_, incarnation_);
    stub.async()->Replicate(&context_, this);
    AddHold();  // for writes from outside of reactions; removed by close()
    StartRead(&incoming_);
    StartCall();
  }
  void send(RangeMessage message) {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    outbox_.push(std::move(message));
    if (!writing_) write_next();
  }
  void cancel() { context_.TryCancel(); }

  void OnReadInitialMetadataDone(bool ok) override {
    if (!ok) return;
    shared_->loop.post([self = shared_from_this()] { self->shared_->opened(self->node_, self); });
  }
  void OnReadDone(bool ok) override {
    if (!ok) return close();
    shared_->deliver(node_, incarnation_, std::move(incoming_));
    incoming_.Clear();
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    {
      const std::lock_guard lock(mutex_);
      writing_ = false;
      if (ok && !closed_ && !outbox_.empty()) write_next();
    }
    if (!ok) context_.TryCancel();
  }
  void OnDone(const grpc::Status& status) override {
    shared_->loop.post([self = std::move(keep_), status] { self->shared_->ended(self->node_, self, status); });
  }

 private:
  void write_next() {
    outbox_.take(outgoing_);
    writing_ = true;
    StartWrite(&outgoing_);
  }
  void close() {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      closed_ = true;
    }
    RemoveHold();
  }

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<OutStream> keep_;
  const NodeId node_;
  const Incarnation incarnation_;
  grpc::ClientContext context_;
  RangeMessages incoming_, outgoing_;
  std::mutex mutex_;
  Outbox outbox_;
  bool writing_{false}, closed_{false};
};

/// The stream that a peer opened to this node: its leaseholders' messages in, our replicas' answers out.
class PeerLinks::InStream final : public grpc::ServerBidiReactor<RangeMessages, RangeMessages>,
                                  public std::enable_shared_from_this<InStream> {
 public:
  InStream(std::shared_ptr<Shared> shared, Hello peer) : shared_(std::move(shared)), peer_(std::move(peer)) {}
  void start() {
    keep_ = shared_from_this();
    StartSendInitialMetadata();
    StartRead(&incoming_);
  }
  void send(RangeMessage message) {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    outbox_.push(std::move(message));
    if (!writing_) write_next();
  }
  void end() { finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "replaced or stopping")); }

  void OnReadDone(bool ok) override {
    if (!ok) return finish(grpc::Status::OK);
    shared_->deliver(peer_.node, peer_.incarnation, std::move(incoming_));
    incoming_.Clear();
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    bool finish_now = false;
    {
      const std::lock_guard lock(mutex_);
      writing_ = false;
      if (closed_)
        finish_now = true;
      else if (ok && !outbox_.empty())
        write_next();
    }
    if (finish_now)
      Finish(final_);
    else if (!ok)
      finish(grpc::Status::OK);
  }
  void OnCancel() override { finish(grpc::Status::CANCELLED); }
  void OnDone() override {
    {
      const std::lock_guard lock(shared_->mutex);
      const auto it = shared_->in.find(peer_.node);
      if (it != shared_->in.end() && it->second.get() == this) shared_->in.erase(it);
    }
    keep_.reset();
  }

 private:
  void write_next() {
    outbox_.take(outgoing_);
    writing_ = true;
    StartWrite(&outgoing_);
  }
  void finish(grpc::Status status) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return;
      closed_ = true;
      final_ = std::move(status);
      if (writing_) return;  // OnWriteDone finishes
    }
    Finish(final_);
  }
  std::shared_ptr<Shared> shared_;
  std::shared_ptr<InStream> keep_;
  const Hello peer_;
  RangeMessages incoming_, outgoing_;
  std::mutex mutex_;
  Outbox outbox_;
  grpc::Status final_;
  bool writing_{false}, closed_{false};
};

namespace {
/// Refuses a call before anything is read.
class Refusal final : public grpc::ServerBidiReactor<RangeMessages, RangeMessages> {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};
}  // namespace

void PeerLinks::Shared::connect(NodeId node) {
  const auto it = links.find(node);
  if (stopped || it == links.end()) return;
  Link& link = it->second;
  link.retry = 0;
  if (!link.stub)
    link.stub = proto::Peer::NewStub(
        grpc::CreateCustomChannel(link.address.address, grpc::InsecureChannelCredentials(), channel_arguments()));
  link.stream = std::make_shared<OutStream>(shared_from_this(), node, link.address.incarnation);
  link.stream->start(*link.stub);
}

void PeerLinks::Shared::opened(NodeId node, const std::shared_ptr<OutStream>& stream) {
  const auto it = links.find(node);
  if (stopped || it == links.end() || it->second.stream != stream) return;
  it->second.up = true;
  it->second.backoff = 20ms;
  {
    const std::lock_guard lock(mutex);
    ready_out[node] = stream;
  }
  events.up(node, it->second.address.incarnation);
}

void PeerLinks::Shared::ended(NodeId node, const std::shared_ptr<OutStream>& stream, const grpc::Status& status) {
  const auto it = links.find(node);
  if (stopped || it == links.end() || it->second.stream != stream) return;
  Link& link = it->second;
  link.stream.reset();
  {
    const std::lock_guard lock(mutex);
    ready_out.erase(node);
  }
  if (link.up) {
    spdlog::debug("rpc: the stream to node {} ended: {}", node.value, status.error_message());
    link.up = false;
    events.down(node);
  }
  if (links.find(node) == links.end()) return;  // the event took the peer away
  link.retry = loop.after(link.backoff, [self_ = shared_from_this(), node] { self_->connect(node); });
  link.backoff = std::min<Duration>(link.backoff * 2, 500ms);
}

PeerLinks::PeerLinks(Loop& loop, Hello self, Events events)
    : shared_(std::make_shared<Shared>(loop, std::move(self), std::move(events))) {}
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
    if (old.stream) old.stream->cancel();
    if (old.up) s.events.down(node);
  }
  for (auto& [node, address] : peers)
    if (node != s.self.node && !s.links.contains(node)) {
      s.links[node].address = address;
      s.connect(node);
    }
}

void PeerLinks::send(NodeId to, RangeMessage message) {
  std::shared_ptr<OutStream> out;
  std::shared_ptr<InStream> in;
  {
    const std::lock_guard lock(shared_->mutex);
    if (is_answer(message)) {
      if (const auto it = shared_->in.find(to); it != shared_->in.end()) in = it->second;
    } else if (const auto it = shared_->ready_out.find(to); it != shared_->ready_out.end()) {
      out = it->second;
    }
  }
  if (in)
    in->send(std::move(message));
  else if (out)
    out->send(std::move(message));
}

grpc::ServerBidiReactor<RangeMessages, RangeMessages>* PeerLinks::accept(grpc::CallbackServerContext* context) {
  Result<Hello> peer = hear_hello(context->client_metadata(), shared_->self);
  if (!peer.ok()) return new Refusal(to_status(peer.error()));
  answer_hello(*context, shared_->self);
  auto stream = std::make_shared<InStream>(shared_, *peer);
  std::shared_ptr<InStream> replaced;
  {
    const std::lock_guard lock(shared_->mutex);
    replaced = std::exchange(shared_->in[peer->node], stream);
  }
  if (replaced) replaced->end();
  stream->start();
  return stream.get();
}

void PeerLinks::stop() {
  shared_->stopped = true;
  std::map<NodeId, std::shared_ptr<InStream>> in;
  {
    const std::lock_guard lock(shared_->mutex);
    in.swap(shared_->in);
    shared_->ready_out.clear();
  }
  for (auto& [node, link] : shared_->links) {
    if (link.retry != 0) shared_->loop.cancel(link.retry);
    if (link.stream) link.stream->cancel();
  }
  shared_->links.clear();
  for (auto& [node, stream] : in) stream->end();
}

}  // namespace outlast::rpc
