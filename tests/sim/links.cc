#include "tests/sim/links.h"

#include "tests/sim/cluster.h"

namespace outlast::sim {
using namespace std::chrono_literals;

namespace {
bool is_answer(const proto::RangeMessage& message) {
  switch (message.body_case()) {
    case proto::RangeMessage::kAppendAck:
    case proto::RangeMessage::kMismatch:
    case proto::RangeMessage::kActivateAck:
    case proto::RangeMessage::kFetch:
    case proto::RangeMessage::kSnapshotAck:
    case proto::RangeMessage::kRefused:
      return true;
    default:
      return false;
  }
}
}  // namespace

void SimLinks::set_peers(const std::map<NodeId, rpc::PeerAddress>& peers) {
  for (auto it = links_.begin(); it != links_.end();) {
    const auto wanted = peers.find(it->first);
    if (wanted != peers.end() && wanted->second == it->second.address) {
      ++it;
      continue;
    }
    const Link old = std::move(it->second);
    const NodeId node = it->first;
    it = links_.erase(it);
    loop_.cancel(old.retry);
    if (old.stream) cluster_.network.cut(old.stream);
    if (old.up) events_.down(node);
  }
  for (const auto& [node, address] : peers)
    if (node != self_ && !links_.contains(node)) {
      links_[node].address = address;
      connect(node);
    }
}

void SimLinks::connect(NodeId node) {
  Link& link = links_.at(node);
  link.retry = 0;
  const int there = Cluster::machine_at(link.address.address);
  link.stream = cluster_.network.open(machine_, there);
  if (link.stream == nullptr) {
    link.retry = loop_.after(link.backoff, [this, node] { connect(node); });
    link.backoff = std::min<Duration>(link.backoff * 2, 500ms);
    return;
  }
  const StreamPtr stream = link.stream;
  stream->broken[0] = [this, node, weak = std::weak_ptr(stream)] {
    if (const auto mine = weak.lock()) ended(node, mine);
  };
  Process* const target = cluster_.machine(there).process.get();
  // What runs at the target may outlive this process: it touches `this` only back here.
  cluster_.network.send(stream, 1, "hello",
                        [this, &cluster = cluster_, target, stream, node, wanted = link.address.incarnation,
                         self = self_, incarnation = incarnation_] {
                          if (target->links == nullptr || target->self().incarnation != wanted)
                            return cluster.network.cut(stream);
                          target->links->accept(stream, self, incarnation);
                          cluster.network.send(stream, 0, "welcome", [this, node, stream] { opened(node, stream); });
                        });
}

void SimLinks::opened(NodeId node, const StreamPtr& stream) {
  const auto it = links_.find(node);
  if (it == links_.end() || it->second.stream != stream) return;
  it->second.up = true;
  it->second.backoff = 20ms;
  events_.up(node, it->second.address.incarnation);
}

void SimLinks::ended(NodeId node, const StreamPtr& stream) {
  const auto it = links_.find(node);
  if (it == links_.end() || it->second.stream != stream) return;
  it->second.stream.reset();
  if (std::exchange(it->second.up, false)) events_.down(node);
  const auto again = links_.find(node);  // the event may have taken the peer away
  if (again == links_.end() || again->second.stream || again->second.retry != 0) return;
  again->second.retry = loop_.after(again->second.backoff, [this, node] { connect(node); });
  again->second.backoff = std::min<Duration>(again->second.backoff * 2, 500ms);
}

void SimLinks::accept(const StreamPtr& stream, NodeId from, Incarnation incarnation) {
  const auto old = std::exchange(in_[from], {stream, incarnation});
  if (old.first) cluster_.network.cut(old.first);
  stream->broken[1] = [this, from, weak = std::weak_ptr(stream)] {
    const auto it = in_.find(from);
    if (it != in_.end() && it->second.first == weak.lock()) in_.erase(it);
  };
}

void SimLinks::send(NodeId to, proto::RangeMessage message) {
  StreamPtr stream;
  int towards = 0;
  if (is_answer(message)) {
    if (const auto it = in_.find(to); it != in_.end()) stream = it->second.first;
  } else if (const auto it = links_.find(to); it != links_.end() && it->second.up) {
    stream = it->second.stream;
    towards = 1;
  }
  if (stream == nullptr) return;
  Process* const target = cluster_.machine(stream->machines[towards]).process.get();
  if (target == nullptr || target->loop.owner() != stream->owners[towards]) return;
  cluster_.note_message(self_, to, message);
  cluster_.network.send(stream, towards, "range message",
                        [target, from = self_, inc = incarnation_, message = std::move(message)]() mutable {
                          target->links->hear(from, inc, std::move(message));
                        });
}

void SimLinks::hear(NodeId from, Incarnation incarnation, proto::RangeMessage message) {
  events_.message(from, incarnation, std::move(message));
}

}  // namespace outlast::sim
