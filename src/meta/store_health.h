#pragma once
#include <functional>
#include <memory>

#include "meta/mirrors.h"

namespace outlast::meta {

/// What a node does about its store's disk (protocol A4.8). A disk that fails a sync may go on showing bytes that it
/// never got, so the process says so in the node's record and ends. Its successor is on probation: nothing is placed on
/// the store until it has synced without a failure for a while.
/// Thread-safety: loop only. Lifetime: everything passed in outlives it.
class StoreHealth {
 public:
  static constexpr int kGoodSyncs = 15;  ///< In a row, about a second apart, end the probation.

  /// `end` is called once: the failure is on record, so that this process may and must end.
  StoreHealth(Store& store, Loop& loop, const NodeMirror& nodes, liveness::Peer self, std::function<void()> end);
  ~StoreHealth();
  StoreHealth(const StoreHealth&) = delete;
  StoreHealth& operator=(const StoreHealth&) = delete;

  /// The disk failed a sync or a write of this range. `marked`: the store itself tells later processes not to trust the
  /// replica. Else the process does not end before the node's record says so: until then nobody but it would know.
  void failed(RangeId range, const Error& why, bool marked);
  /// An earlier process was failed by the disk: try it now and then, and say what came of it.
  bool on_probation() const;
  void tried(const Result<void>& synced);

 private:
  void report();
  void reported(bool unmarked, const Result<void>& result);
  void end();

  Store& store_;
  Loop& loop_;
  const NodeMirror& nodes_;
  const liveness::Peer self_;
  std::function<void()> end_;  ///< Null once called.
  StoreReport report_;         ///< Of this process.
  bool reporting_{false};
  Loop::TimerId timer_{0}, limit_{0};
  int good_{0};
  bool clearing_{false};
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace outlast::meta
