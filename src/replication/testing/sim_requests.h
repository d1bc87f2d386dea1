#pragma once
// Gateways of a simulated cluster: writes with ids that come late or whose answers are lost, and RESOLVE until somebody
// tells what became of them (protocol A5.6). What they are told is checked against what is committed (I8).
#include <memory>
#include <optional>

#include "replication/testing/sim_cluster.h"

namespace outlast::replication::testing {

class SimRequests : public std::enable_shared_from_this<SimRequests> {
 public:
  struct Counts {
    std::uint64_t sent{0}, acked{0}, in_doubt{0}, applied{0}, not_applied{0}, expired{0}, unanswered{0};
  };
  explicit SimRequests(SimCluster& cluster, RangeId range) : cluster_(cluster), range_(range) {}

  /// One write to whoever leads the range as far as the gateway knows.
  void send() {
    SimNode* where = nullptr;
    const LeasedRangePtr lease = cluster_.leader(range_, &where);
    if (!lease) return;
    const auto mine = std::make_shared<Write>();
    mine->id = {gateway_number(NodeId(9), Incarnation(1)), ++counts.sent};
    mine->epoch = lease->epoch();
    mine->after = seen_epoch_ == mine->epoch ? seen_ : Lsn();
    mine->sent = cluster_.world.now();
    if (random().below(12) != 0) later(travel(), [mine, node = where->id](SimRequests& me) { me.arrive(mine, node); });
    later(patience(), [mine](SimRequests& me) {
      if (!mine->answered) me.doubt(mine);
    });
  }
  /// No question waits for an answer any more.
  bool settled() const { return open_ == 0; }
  /// What was answered as applied must be committed by now. Empty, or what is wrong.
  std::string check() const {
    for (const RequestId& id : told_applied_)
      if (!cluster_.is_committed(id))
        return "request " + std::to_string(id.sequence) + " was applied, and is not there";
    return "";
  }
  Counts counts;

 private:
  struct Write {
    RequestId id;
    Epoch epoch;
    Lsn after;
    Instant sent, doubt_since;
    bool answered{false};  ///< Or in doubt: a late answer is not looked at any more.
  };
  using WritePtr = std::shared_ptr<Write>;

  Random& random() { return cluster_.random; }
  void later(Duration delay, std::function<void(SimRequests&)> what) {
    cluster_.world.after(delay, [weak = weak_from_this(), what = std::move(what)] {
      if (auto me = weak.lock()) what(*me);
    });
  }
  template <class F>
  auto weakly(F what) {
    return [weak = weak_from_this(), what = std::move(what)](auto result) mutable {
      if (auto me = weak.lock()) what(*me, std::move(result));
    };
  }
  Duration travel() {
    return std::chrono::microseconds(random().below(8) == 0 ? random().below(2'000'000) : 50 + random().below(1500));
  }
  Duration patience() { return std::chrono::milliseconds(2 + random().below(random().below(3) == 0 ? 1500 : 40)); }

  // At the leaseholder.
  void arrive(const WritePtr& write, NodeId where) {
    SimNode& node = cluster_.node_of(where);
    if (!node.up()) return;
    auto found = node.replicas->find(range_, write->epoch);
    if (!found.ok() || !(*found)->admit().ok() || !(*found)->accepts(write->id).ok()) return refused(write);
    const LeasedRangePtr lease = *found;
    lease->writer_lock().acquire(
        cluster_.world.now() + std::chrono::seconds(2), false,
        weakly([write, where, weak = std::weak_ptr(lease)](SimRequests& me, Result<WriterLock::Hold> hold) {
          if (!hold.ok()) return me.refused(write);
          // The statement runs for a while before its commit: past the check at the entry.
          me.later(
              std::chrono::microseconds(me.random().below(me.random().below(4) == 0 ? 30'000 : 300)),
              [write, where, weak, held = std::make_shared<WriterLock::Hold>(*std::move(hold))](SimRequests& self) {
                const auto range = weak.lock();
                if (range && self.cluster_.node_of(where).up()) self.commit(write, range);
                held->release();
              });
        }));
  }
  void commit(const WritePtr& write, const LeasedRangePtr& lease) {
    const std::string text = "r" + std::to_string(write->id.sequence);
    auto lsn =
        static_cast<FakeDatabase&>(lease->database()).write(text, {write->id.gateway, write->id.sequence, 1, text, ""});
    if (!lsn.ok()) return refused(write);
    lease->wait_durable(*lsn, Waits::kWrite,
                        weakly([write, lsn = *lsn, epoch = lease->epoch()](SimRequests& me, Result<void> result) {
                          if (!result.ok()) return;
                          me.cluster_.must_hold(me.range_, lsn, epoch, "an acknowledged write");
                          me.answer(write, [lsn, epoch](SimRequests& self, Write& mine) {
                            ++self.counts.acked;
                            self.told_applied_.push_back(mine.id);
                            self.seen_ = lsn, self.seen_epoch_ = epoch;
                          });
                        }));
  }
  /// Nothing was applied, and never will be under this id.
  void refused(const WritePtr& write) {
    cluster_.said_not_applied(write->id);
    answer(write, [](SimRequests&, Write&) {});
  }
  void answer(const WritePtr& write, std::function<void(SimRequests&, Write&)> what) {
    if (random().below(6) == 0) return;  // lost with its connection
    later(travel(), [write, what = std::move(what)](SimRequests& me) {
      if (std::exchange(write->answered, true)) return;
      what(me, *write);
    });
  }

  // At the gateway.
  void doubt(const WritePtr& write) {
    write->answered = true;
    write->doubt_since = cluster_.world.now();
    ++counts.in_doubt;
    ++open_;
    ask(write);
  }
  void ask(const WritePtr& write) {
    if (cluster_.world.now() - write->doubt_since > std::chrono::seconds(8)) {
      ++counts.unanswered;
      --open_;
      return;
    }
    SimNode* where = nullptr;
    const auto done = std::make_shared<bool>(false);
    if (cluster_.leader(range_, &where))
      later(travel(), [write, done, node = where->id](SimRequests& me) { me.question(write, done, node); });
    later(std::chrono::milliseconds(20 + random().below(200)), [write, done](SimRequests& me) {
      if (!std::exchange(*done, true)) me.ask(write);
    });
  }
  void question(const WritePtr& write, const std::shared_ptr<bool>& done, NodeId where) {
    SimNode& node = cluster_.node_of(where);
    if (!node.up()) return;
    auto found = node.replicas->find(range_, Epoch());
    if (!found.ok()) return;
    const Instant now = cluster_.world.now();
    (*found)->resolve({write->id, write->epoch, write->after, now - write->sent},
                      weakly([write, done, keep = *found](SimRequests& me, Result<RequestAnswer> told) {
                        if (!told.ok()) return;
                        me.later(me.travel(), [write, done, answer = *told](SimRequests& self) {
                          if (!std::exchange(*done, true)) self.told(write, answer);
                        });
                      }));
  }
  void told(const WritePtr& write, const RequestAnswer& answer) {
    --open_;
    if (answer.kind == RequestAnswer::Kind::kApplied) {
      ++counts.applied;
      if (answer.outcome.tag != "r" + std::to_string(write->id.sequence)) cluster_.fail("another request's outcome");
      told_applied_.push_back(write->id);
    } else if (certainly_not_applied(answer, cluster_.world.now() - write->sent)) {
      ++counts.not_applied;
      cluster_.said_not_applied(write->id);
    } else {
      ++counts.expired;
    }
  }

  SimCluster& cluster_;
  const RangeId range_;
  std::size_t open_{0};
  Epoch seen_epoch_;
  Lsn seen_;
  std::vector<RequestId> told_applied_;
};

}  // namespace outlast::replication::testing
