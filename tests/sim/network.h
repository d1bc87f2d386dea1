#pragma once
#include <array>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>

#include "tests/sim/process_loop.h"

namespace outlast::sim {

/// A connection between two processes: what is sent arrives in order per direction, or not at all once it is broken.
/// Different connections are independent of each other.
struct Stream {
  std::uint64_t number{0};  ///< Never used twice.
  std::array<int, 2> machines;
  std::array<Owner, 2> owners;
  bool open{true};
  /// When it breaks, what was sent to the end that did not open it may still arrive, and that end may hear of it late:
  /// as with TCP, whose other side is told by a packet of its own.
  bool lingers{false};
  bool ended{false};                     ///< ... until it has heard of it.
  std::array<Instant, 2> last;           ///< Arrival of the latest message at each end.
  std::array<std::deque<Task>, 2> held;  ///< Sent on a way that lets nothing through.
  std::array<std::function<void()>, 2> broken;
};
using StreamPtr = std::shared_ptr<Stream>;

/// The ways between machines, each direction by itself: delay, silence, broken connections. A silent way keeps what is
/// sent (as TCP does) until it opens again or the connection is given up.
class Network {
 public:
  /// The loop of the process that runs on a machine now; null when none does.
  using Hosts = std::function<ProcessLoop*(int machine)>;
  Network(World& world, Hosts hosts) : world_(world), hosts_(std::move(hosts)) {}

  /// Null when one of the processes is not there.
  StreamPtr open(int from, int to);
  /// `towards` 0 is the end that opened it. Lost silently when the connection is broken.
  void send(const StreamPtr& stream, int towards, const char* kind, Task deliver);
  /// Both ends hear of it, unless they are gone.
  void cut(const StreamPtr& stream);
  void cut_between(int a, int b);
  /// Nothing gets through from `from` to `to` until it opens again.
  void silence(int from, int to);
  void let_through(int from, int to);
  bool silent(int from, int to) const { return silent_.contains({from, to}); }
  /// The process there ended. Its peers hear it at once, or (`quietly`) only when they lose patience.
  void process_gone(int machine, bool quietly);
  void heal();
  /// Multiplies delays on the ways of this machine; of two such machines the slower one counts.
  std::map<int, std::uint64_t> slow;
  /// Asked for every message sent: a fault may be drawn.
  std::function<void(int from, int to)> on_send = [](int, int) {};
  std::uint64_t messages{0};

 private:
  Duration delay(int from, int to);
  Duration patience();
  void transmit(const StreamPtr& stream, int towards, const char* kind, Task deliver);
  std::vector<StreamPtr> streams_between(int a, int b);

  World& world_;
  const Hosts hosts_;
  std::list<std::weak_ptr<Stream>> streams_;
  std::map<std::pair<int, int>, std::uint64_t> silent_;  ///< With a number for each silence.
  std::uint64_t silences_{0}, last_stream_{0};
};

}  // namespace outlast::sim
