#pragma once
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "liveness/observer.h"
#include "liveness/renewer.h"
#include "meta/life_locks.h"
#include "meta/live_record.h"
#include "meta/mirrors.h"

namespace outlast::meta {

/// What this node knows of one incarnation.
struct PeerView {
  liveness::Peer peer;
  liveness::State state{liveness::State::kUnknown};
  Phase phase{Phase::kStandby};
  std::string addr;
  friend bool operator==(const PeerView&, const PeerView&) = default;
};

/// Carries out protocol A2 for one worker: renews its liveness record, watches all others and fences those that
/// liveness::Observer names. Once fenced, this incarnation is finished for ever: the deadline of fast reads is gone
/// before any callback runs, and the process must exit.
/// A slow metadata store counts as an interruption of the session: while a renewal of our own is overdue, so may those
/// of the others be, and nobody is fenced for it.
/// Thread-safety: lease_deadline(), reads_allowed(), is_fenced(), peers() and current() from any thread; the rest on
/// the loop, where all callbacks run.
/// Lifetime: store, loop and deaths outlive the driver. Destroying it stops renewing and fences nothing.
class LivenessDriver {
 public:
  struct Options {
    liveness::Peer self;
    std::string addr;  ///< Node-to-node address of this process.
    liveness::Params params;
    std::uint64_t seed{0};        ///< Spreads renewals.
    DeathWatch* deaths{nullptr};  ///< Proofs of death on this machine; may be null.
    liveness::Observer::PlantedBugs observer_bugs{};
    liveness::Renewer::PlantedBugs renewer_bugs{};
  };
  LivenessDriver(Store& store, Loop& loop, Options options);
  ~LivenessDriver();
  LivenessDriver(const LivenessDriver&) = delete;
  LivenessDriver& operator=(const LivenessDriver&) = delete;

  /// Writes the first record and keeps renewing. Calls back once: when the record is stored and the others' are known,
  /// or kFenced. Before it, the supervisor must know the incarnation (A2.3) and life locks must be held.
  void start(Phase phase, Callback<void> ready);
  /// Written with an extra renewal at once.
  void set_phase(Phase phase);
  /// New liveness settings; must be valid.
  void set_params(liveness::Params params);
  /// The leader frontend fences first.
  void set_leader_frontend(bool is_leader) { is_leader_frontend_ = is_leader; }
  /// Last act of a stop or a handover, with all gates closed: renews no more, allows no fast read, writes its own
  /// fence (again and again while metadata is out of reach). on_fenced is not called for it.
  void fence_self(std::string why, Callback<void> done);

  /// This incarnation was fenced by somebody, or its record is gone: stop serving and exit.
  void on_fenced(std::move_only_function<void()> sink) { fenced_sinks_.push_back(std::move(sink)); }
  /// A peer's state, phase or address changed (itself included); kFenced comes as soon as the fence is seen.
  void on_peer(std::move_only_function<void(const PeerView&)> sink) { peer_sinks_.push_back(std::move(sink)); }

  /// Fast reads are allowed strictly before this instant (protocol A4.6a).
  Instant lease_deadline() const { return Instant(Duration(deadline_.load(std::memory_order_acquire))); }
  bool reads_allowed(Instant now) const { return now < lease_deadline(); }
  bool is_fenced() const { return fenced_.load(std::memory_order_acquire); }
  /// All incarnations with a record or a fence, by node and incarnation.
  std::vector<PeerView> peers() const;
  /// The incarnation that speaks for the node: of those with a record and without a fence the newest that is no
  /// standby, else the newest. In a handover that is the old worker until it has released the node.
  std::optional<PeerView> current(NodeId node) const;
  /// This very incarnation, while it has a record and no fence.
  std::optional<PeerView> find(liveness::Peer peer) const;
  /// The fences seen so far, to be shared with others that act on them.
  FenceMirror& fences() { return *fences_; }

 private:
  void tick();
  void schedule_tick();
  void watch_records();
  // Own renewals.
  void renew(Instant now);
  void on_renewed(Result<TxnReply> reply, Phase sent_phase);
  void on_refused(const TxnReply& reply);
  void read_back();
  void on_read_back(Result<TxnReply> reply);
  void confirm(Phase sent_phase);
  void publish_deadline();
  void end_for_ever();
  void tell_ready(Result<void> result);
  void tell_if_ready();
  void tell_fenced();
  // Others.
  void fence_silent(Instant now);
  void fence_gone();
  void put_fence(liveness::Peer peer, std::optional<Revision> seen, const char* why);
  void refresh(liveness::Peer peer);
  void refresh_all();
  double jitter() { return static_cast<double>(random_.below(1'000'000)) / 1e6; }
  /// Wraps a callback so that it does nothing once the driver is gone.
  template <class F>
  auto guarded(F f);

  Store& store_;
  Loop& loop_;
  const liveness::Peer self_;
  const std::string addr_;
  liveness::Params params_;
  DeathWatch* const deaths_;
  SeededRandom random_;
  liveness::Renewer renewer_;
  liveness::Observer observer_;
  Phase phase_{Phase::kStandby}, phase_sent_{Phase::kStandby};
  std::optional<Revision> record_created_;  ///< create_revision of our own record, once stored.
  Instant sent_at_{};
  bool started_{false}, stopping_{false}, is_leader_frontend_{false};
  Callback<void> ready_;
  std::set<liveness::Peer> fencing_;  ///< A fence is on its way.
  Loop::TimerId timer_{0};
  std::atomic<Duration::rep> deadline_{0};
  std::atomic<bool> fenced_{false};
  std::deque<std::move_only_function<void()>> fenced_sinks_;
  std::deque<std::move_only_function<void(const PeerView&)>> peer_sinks_;
  mutable std::mutex mutex_;
  std::map<liveness::Peer, PeerView> views_;  ///< Guarded by mutex_; written on the loop only.
  std::unique_ptr<Mirror<LiveRecord>> records_;
  std::unique_ptr<FenceMirror> fences_;
  std::shared_ptr<int> alive_{std::make_shared<int>(0)};
};

}  // namespace outlast::meta
