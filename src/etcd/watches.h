#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "etcd/session.h"
#include "etcd/watch_stream.h"

namespace outlast::etcd {

/// All watches of one store, fed by one watch of etcd over everything below the cluster's prefix. So any change in the
/// cluster, of which there is one at least every `liveness.renew`, moves the revision on from which a broken watch goes
/// on, and a quiet key is never stuck behind compaction.
/// A new watch is told the whole state of its prefix, read linearizably at some revision R, and then what the common
/// watch brings above R; what that brings while the read is under way is held back. When etcd has compacted what a
/// broken watch would need, all are told their whole state anew.
/// Thread-safety: the strand's. Lifetime: destroy it after strand.stop(), before the session.
class Watches {
 public:
  using Id = meta::Store::WatchId;
  using Deliver = std::function<void(Id, meta::WatchBatch)>;
  Watches(Session& session, const Codec& codec, Calls& calls, Deliver deliver, std::function<void()> changed_up);
  ~Watches();
  Watches(const Watches&) = delete;
  Watches& operator=(const Watches&) = delete;

  void add(Id id, std::string prefix);
  void drop(Id id);
  void tick();
  /// The session uses another member, or none.
  void on_switched();
  /// Nothing that was told is certain any more.
  void start_anew();
  /// Events arrive, or nobody needs them.
  bool is_up() const { return watches_.empty() || is_up_; }

 private:
  struct Watch {
    Id id;
    std::string prefix;
    enum class State : std::uint8_t { kWaiting, kReading, kLive } state{State::kWaiting};
    std::uint64_t seen{0};                 ///< kLive: told everything up to here.
    std::vector<meta::WatchBatch> held{};  ///< kReading: what came meanwhile.
  };
  void read_states();
  void on_states(const std::vector<Id>& asked, const pb::TxnResponse& response);
  void go_live(Watch& watch, std::uint64_t revision, const pb::RangeResponse& state);
  void open_stream();
  void close_stream();
  void on_response(const WatchStream& stream, const pb::WatchResponse& response);
  void on_events(const pb::WatchResponse& response);
  void on_revision(std::uint64_t revision, const std::vector<meta::Event>& events);
  void on_end(const WatchStream& stream, const grpc::Status& status);
  void set_up(bool up);
  Watch* find(Id id);

  Session& session_;
  const Codec& codec_;
  Calls& calls_;
  const Deliver deliver_;
  const std::function<void()> changed_up_;
  std::vector<Watch> watches_;
  bool is_reading_{false};
  std::shared_ptr<WatchStream> stream_;
  bool is_up_{false};
  std::uint64_t next_{0};  ///< First revision that is not seen; 0: none was, the stream waits for a first state.
  Time not_before_{};      ///< Pause before the next stream.
};

}  // namespace outlast::etcd
