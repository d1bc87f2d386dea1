#include "tests/sim/network.h"

#include <algorithm>

namespace outlast::sim {
using namespace std::chrono_literals;

Duration Network::delay(int from, int to) {
  Duration base = world_.between(30us, 400us);
  if (world_.random().below(20) == 0) base += world_.between(0us, 5ms);
  const auto factor = [this](int machine) {
    const auto it = slow.find(machine);
    return it == slow.end() ? 1 : it->second;
  };
  return base * std::max(factor(from), factor(to));
}

/// How long a peer waits for a sign of life (keepalive) before it gives a connection up.
Duration Network::patience() {
  return world_.between(300ms, 3s);
}

StreamPtr Network::open(int from, int to) {
  ProcessLoop* a = hosts_(from);
  ProcessLoop* b = hosts_(to);
  if (a == nullptr || b == nullptr) return nullptr;
  auto stream = std::make_shared<Stream>();
  stream->number = ++last_stream_;
  stream->machines = {from, to};
  stream->owners = {a->owner(), b->owner()};
  stream->last = {world_.now(), world_.now()};
  std::erase_if(streams_, [](const auto& weak) { return weak.expired(); });
  streams_.push_back(stream);
  return stream;
}

void Network::send(const StreamPtr& stream, int towards, const char* kind, Task deliver) {
  const int from = stream->machines[1 - towards], to = stream->machines[towards];
  const auto gone = [&] {
    const ProcessLoop* sender = hosts_(from);
    return !stream->open || sender == nullptr || sender->doomed();
  };
  if (gone()) return;
  ++messages;
  on_send(from, to);
  if (gone()) return;  // the process died before the message left it
  if (silent(from, to))
    stream->held[towards].push_back(std::move(deliver));
  else
    transmit(stream, towards, kind, std::move(deliver));
}

void Network::transmit(const StreamPtr& stream, int towards, const char* kind, Task deliver) {
  const int from = stream->machines[1 - towards], to = stream->machines[towards];
  ProcessLoop* loop = hosts_(to);
  if (loop == nullptr || loop->owner() != stream->owners[towards]) return;
  Instant& last = stream->last[towards];
  last = std::max(last + 1us, world_.now() + delay(from, to));
  loop->plan(last - world_.now(), kind, [stream, towards, deliver = std::move(deliver)]() mutable {
    if (stream->open || (towards == 1 && stream->lingers && !stream->ended)) deliver();
  });
}

void Network::cut(const StreamPtr& stream) {
  if (!stream->open) return;
  stream->open = false;
  for (int end : {0, 1}) {
    stream->held[end].clear();
    ProcessLoop* loop = hosts_(stream->machines[end]);
    if (loop == nullptr || loop->owner() != stream->owners[end]) continue;
    Duration notice = world_.between(20us, 2ms);
    if (end == 1 && stream->lingers) {
      if (world_.random().below(3) == 0) notice = world_.between(1ms, 300ms);
      notice = std::max(notice, stream->last[1] - world_.now() + 1us);
    }
    loop->plan(notice, "broken", [stream, end] {
      stream->ended = stream->ended || end == 1;
      if (auto told = std::exchange(stream->broken[end], nullptr)) told();
    });
  }
}

std::vector<StreamPtr> Network::streams_between(int a, int b) {
  std::vector<StreamPtr> found;
  for (const auto& weak : streams_) {
    auto stream = weak.lock();
    if (!stream || !stream->open) continue;
    const auto& m = stream->machines;
    if ((m[0] == a && m[1] == b) || (m[0] == b && m[1] == a)) found.push_back(std::move(stream));
  }
  return found;
}

void Network::cut_between(int a, int b) {
  for (const StreamPtr& stream : streams_between(a, b)) cut(stream);
}

void Network::silence(int from, int to) {
  if (from == to || silent(from, to)) return;
  const std::uint64_t mine = silent_[{from, to}] = ++silences_;
  world_.plan(0, patience(), "keepalive", [this, from, to, mine] {
    const auto it = silent_.find({from, to});
    if (it != silent_.end() && it->second == mine) cut_between(from, to);
  });
}

void Network::let_through(int from, int to) {
  if (silent_.erase({from, to}) == 0) return;
  for (const StreamPtr& stream : streams_between(from, to)) {
    const int towards = stream->machines[1] == to ? 1 : 0;
    for (Task& task : std::exchange(stream->held[towards], {})) transmit(stream, towards, "held", std::move(task));
  }
}

void Network::process_gone(int machine, bool quietly) {
  for (const auto& weak : streams_) {
    const auto stream = weak.lock();
    if (!stream || !stream->open || (stream->machines[0] != machine && stream->machines[1] != machine)) continue;
    if (!quietly) {
      cut(stream);
      continue;
    }
    // Nobody says so: what is sent goes nowhere until the other end loses patience.
    world_.plan(0, patience(), "keepalive", [this, stream] { cut(stream); });
  }
}

void Network::heal() {
  const auto all = silent_;
  for (const auto& [way, number] : all) let_through(way.first, way.second);
  slow.clear();
}

}  // namespace outlast::sim
