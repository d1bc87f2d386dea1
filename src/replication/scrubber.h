#pragma once
#include <functional>
#include <memory>

#include "replication/held_replica.h"

namespace outlast::replication {

/// Reads all replicas of this node again and again, one after the other and at a bounded rate, so that damage on the
/// disk is found while other replicas are whole. What fails its check fails the replica: it leaves S and is rebuilt.
/// Thread-safety: loop only.
class Scrubber {
 public:
  /// The open replica of the first range after this one, in the order of ids; null behind the last.
  using NextReplica = std::function<std::shared_ptr<HeldReplica>(RangeId after)>;
  Scrubber(Loop& loop, NextReplica next) : loop_(loop), next_(std::move(next)) {}
  ~Scrubber() { set_rate(0); }
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

  /// Bytes a second; 0 stops.
  void set_rate(std::uint64_t rate);
  /// Times that all replicas were read.
  std::uint64_t passes() const { return passes_; }

 private:
  struct Pass;  ///< Over one replica.
  void rest(std::size_t bytes);
  void work();
  void piece_done(const std::shared_ptr<Pass>& pass, Result<std::size_t> bytes);

  Loop& loop_;
  const NextReplica next_;
  std::uint64_t rate_{0}, passes_{0};
  RangeId last_;
  std::shared_ptr<Pass> pass_;
  Loop::TimerId timer_{0};
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace outlast::replication
