#pragma once
#include <array>
#include <optional>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "lifecycle/work.h"

namespace outlast::lifecycle {

/// Phases of a drain in the only order in which they are entered; drain_phases() has what each one refuses and awaits.
enum class DrainPhase : std::uint8_t {
  kServing,          ///< No drain.
  kUnready,          ///< The readiness probe fails; everything works, new connections too.
  kConnectionWait,   ///< New connections are refused; open ones may close by themselves.
  kTransactionWait,  ///< No new transaction; sessions are closed as their transactions end ("SQL drain").
  kFragmentWait,     ///< Other gateways' work here finishes ("DistSQL drain").
  kLeaseTransfer,    ///< Until no lease and no office is left here. No time limit.
  kStepOut,          ///< Leaseholders elsewhere take this node's replicas out of their in-sync sets.
  kDrained,          ///< Holds nothing: the process may stop.
};

/// The cluster settings server.shutdown.*, read anew at every step: they may change in the middle of a drain.
struct DrainSettings {
  Duration drain_wait{0};                         ///< Shortest stay in kUnready; no early exit.
  Duration connection_wait{0};                    ///< Longest stay in kConnectionWait.
  Duration query_wait{std::chrono::seconds(10)};  ///< Longest stay in kTransactionWait, and once more in kFragmentWait.
  Duration lease_transfer_wait{std::chrono::seconds(5)};  ///< Between two progress lines; decides nothing.
  Duration handover_wait{std::chrono::seconds(10)};  ///< handover.transaction_wait: kTransactionWait of a handover.
  // Of graceful exits (ExitPlan).
  Duration detection_wait{std::chrono::seconds(15)};  ///< min_graceful_exit_time_second: a balancer notices by then.
  Duration frontend_wait{std::chrono::seconds(60)};   ///< max_graceful_exit_time_second: longest exit of a frontend.
  Duration fragments_wait{std::chrono::seconds(20)};  ///< loop_count_wait_fragments_finish, 10 s each.
  /// graceful_exit_wait_for_frontend_heartbeat: nothing is refused before the leader frontend knows of the exit …
  bool await_acknowledgement{false};
  Duration acknowledgement_wait{std::chrono::seconds(15)};  ///< … or so long has passed: it may be away itself.
  /// What a graceful end may take at most, lease transfers aside: the seed's sum.
  Duration sum() const { return drain_wait + connection_wait + 2 * query_wait + lease_transfer_wait; }
};

/// What is left on this node, counted by the caller at one instant.
struct DrainLoad {
  std::uint64_t connections{0};           ///< Client sessions.
  std::uint64_t transactions{0};          ///< Open in this node's own sessions.
  std::uint64_t foreign_transactions{0};  ///< Open here for other gateways' sessions.
  std::uint64_t fragments{0}, loads{0}, jobs{0};
  std::uint64_t leases{0};                 ///< Held here.
  std::uint64_t unmovable_leases{0};       ///< Of these: no other in-sync replica exists.
  std::uint64_t insync{0};                 ///< Replicas here in in-sync sets of others that can still be taken out.
  std::uint64_t inputs{0};                 ///< Of ingest, open. These two: only of a drain that leaves.
  std::uint64_t buffers{0};                ///< Of sinks, not empty.
  bool office{false};                      ///< This node is the leader frontend.
  bool metadata{true};                     ///< The metadata store answers.
  bool acknowledged{false};                ///< The leader frontend knows that the process ends (DrainRequest::ends).
  Duration tail{std::chrono::seconds(1)};  ///< Expected time for what is left of leases and step-out.

  std::uint64_t work() const { return connections + transactions + foreign_transactions + fragments + loads + jobs; }
  /// The seed's "remaining": everything that has to go before the drain is complete.
  std::uint64_t remaining() const { return work() + leases + insync + inputs + buffers + (office ? 1 : 0); }
};

/// A graceful exit in StarRocks' manner (docs/graceful-exit.md): these waits take the place of server.shutdown.*, the
/// order of the phases and what has to leave before the end stay the same.
struct ExitPlan {
  bool frontend{false};   ///< Balancers get detection_wait, sessions finish what runs until frontend_wait is over.
  bool fragments{false};  ///< Of a backend or compute node: what runs here for others gets fragments_wait.
  bool any() const { return frontend || fragments; }
  friend bool operator==(const ExitPlan&, const ExitPlan&) = default;
};

/// How a drain was asked for.
struct DrainRequest {
  bool force{false};      ///< End although unmovable leases are left; they become unavailable.
  bool rehearsal{false};  ///< The leases leave and nothing else changes, until undrain().
  /// To a new worker of the node (protocol A8): it serves the clients, so the node stays ready and refuses nothing;
  /// sessions move instead of being closed, and leases that nobody else can take are left to the new worker.
  bool handover{false};
  /// The node leaves the cluster for good: its inputs close and their buffers go to the sinks before it is drained.
  bool leave{false};
  bool inputs_closed{false};        ///< With `leave`: they are, by the worker before this one.
  std::optional<Instant> deadline;  ///< The process is killed then: waits are cut short to leave `tail` for the leases.
  bool ends{false};                 ///< The process ends with it, and everybody is told so.
  ExitPlan exit;
  std::optional<Duration> limit;  ///< With `exit.frontend`: instead of frontend_wait.
  /// Only sessions and the leader frontend's office leave: the process goes on with its other roles.
  bool frontend_only{false};
};

/// What the node has to do while the machine is where it is.
struct DrainOrders {
  bool ready{true};  ///< What the readiness probe answers.
  WorkSet refused;
  bool shed_leases{false};        ///< Leases leave; no lease or learner comes.
  bool keep_busy{false};          ///< Those stay for now on which statements run that were here before.
  bool resign{false};             ///< The leader frontend's office leaves and is not taken again.
  bool ends{false};               ///< The process is about to end: the liveness record says so.
  bool close_idle{false};         ///< Sessions without a transaction are closed now, busy ones at its end.
  bool close_all{false};          ///< Whatever session is left is closed.
  bool roll_back_foreign{false};  ///< Other gateways' transactions and fragments here are ended (40001).
  bool step_out{false};           ///< Ask leaseholders elsewhere to go on without the replicas here.
  bool close_inputs{false};       ///< Of ingest; what is buffered goes to the sinks at once.
  bool may_stop{false};
  friend bool operator==(const DrainOrders&, const DrainOrders&) = default;
};

/// What holds a drain where it is.
enum class DrainBlocker : std::uint8_t {
  kNone,
  kWait,             ///< A wait that has not passed yet.
  kAcknowledgement,  ///< The leader frontend has not said yet that it knows of the exit.
  kConnections,
  kTransactions,
  kForeignWork,    ///< Other gateways' transactions, fragments, loads, jobs.
  kLeases,         ///< Or the office, until somebody else has it.
  kMetadata,       ///< Leases cannot move while the metadata store is out of reach.
  kSingleReplica,  ///< Only unmovable leases are left: add a replica, or force.
  kInputs,         ///< Of ingest: senders are connected, or what came finds no room.
  kBuffers,        ///< Of ingest: their sinks have not taken all of it.
  kInSync,
};
std::string_view to_string(DrainPhase phase);
std::string_view to_string(DrainBlocker blocker);

enum class DrainEnd : std::uint8_t { kNone, kComplete, kForced };

/// One row of the table of phases.
struct DrainPhaseRow {
  DrainPhase phase;
  std::string_view name;  ///< For people and JSON.
  WorkSet refused;        ///< From its beginning on; Outlast never takes back a refusal within a drain.
};
const std::array<DrainPhaseRow, 8>& drain_phases();

/// Decides when this process may take the next step of its drain. Does no I/O and reads no clock, so that a recorded
/// list of calls replays exactly. A drain belongs to one incarnation and ends with it or with undrain().
///
/// Leases leave from the first instant (orders().shed_leases), whatever the phase: the gateways route to the new
/// leaseholders anyway, so a kill at a deadline hits what hurts least. kLeaseTransfer only waits for what is left.
///
/// Thread-safety: none; lives on the node's Loop. Source: seeds 002 and 003 (phases, settings), docs/adr for the order.
class DrainMachine {
 public:
  struct Entered {
    DrainPhase phase;
    Instant at;
  };

  /// kServing to kUnready. While a drain is under way it only adds `force`, `leave`, `ends`, the exit's plan and an
  /// earlier deadline; one that is complete goes on for `leave`. A rehearsal under way and an exit of the frontend
  /// alone become the drain, all of them a handover, which keeps the inputs closed that a leaving drain had closed.
  /// kInvalidState after stop(), and for a rehearsal or an exit of the frontend while a drain is under way.
  Result<void> drain(DrainRequest request, Instant now);
  /// drain() would begin one, instead of adding to the one under way.
  bool begins(const DrainRequest& request) const;
  /// Back to kServing, whatever the phase; closed sessions stay closed, leases return by placement. Repeating it
  /// changes nothing. kInvalidState after stop().
  Result<void> undrain(Instant now);
  /// The process begins to end: final.
  void stop() { stopping_ = true; }

  /// Takes at most one step and returns the phase after it, so no phase is skipped however far `now` jumps: call it
  /// until it stays. Precondition: `now` is not before that of any earlier call.
  DrainPhase advance(Instant now, const DrainSettings& settings, const DrainLoad& load);

  DrainPhase phase() const { return phase_; }
  DrainOrders orders() const;
  DrainEnd end() const { return end_; }
  bool draining() const { return phase_ != DrainPhase::kServing; }
  bool rehearsing() const { return draining() && request_.rehearsal; }
  bool frontend_only() const { return draining() && request_.frontend_only; }
  bool stopping() const { return stopping_; }
  const DrainRequest& request() const { return request_; }
  /// Why advance() does not take the next step.
  DrainBlocker blocker(Instant now, const DrainSettings& settings, const DrainLoad& load) const;
  /// When the present phase's wait passes; none for phases without one.
  std::optional<Instant> wait_until(const DrainSettings& settings, const DrainLoad& load) const;
  /// Every phase of this drain so far, in order.
  const std::vector<Entered>& history() const { return history_; }

 private:
  void enter(DrainPhase next, Instant now);
  DrainEnd verdict(const DrainLoad& load) const;
  std::optional<Duration> wait_of_phase(const DrainSettings& settings) const;
  Instant frontend_until(const DrainSettings& settings, const DrainLoad& load) const;
  bool awaits_acknowledgement(Instant now, const DrainSettings& settings, const DrainLoad& load) const;
  bool overdue(Instant now, const DrainSettings& settings, const DrainLoad& load) const;
  WorkSet refused() const;
  bool ingest_left(const DrainLoad& load) const;

  DrainPhase phase_{DrainPhase::kServing};
  DrainRequest request_;
  DrainEnd end_{DrainEnd::kNone};
  bool stopping_{false};
  std::vector<Entered> history_;
};

}  // namespace outlast::lifecycle
