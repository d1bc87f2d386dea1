#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "meta/mirrors.h"

namespace outlast::meta {

/// Whom the record of the office names.
Result<liveness::Peer> decode_office_holder(std::string_view text);

/// The election of the leader frontend: the key /office/leader names an incarnation. A candidate takes it when it is
/// absent, and removes it first when the fence of its holder is there; no clock decides.
/// What the watch shows may be outdated at any time: whoever writes in the name of the office adds guard() to the
/// compares of *every* transaction.
/// Thread-safety: leader() and holds() from any thread; the rest on the loop, where callbacks run.
/// Lifetime: store, loop and fences outlive it.
class Office {
 public:
  Office(Store& store, Loop& loop, liveness::Peer self, FenceMirror& fences);
  ~Office();
  Office(const Office&) = delete;
  Office& operator=(const Office&) = delete;

  /// Stands for election from now on; only for incarnations in phase live.
  void stand();
  /// Leaves the office, if held, and stands no more. Success when it is known not to be ours (any more).
  void resign(Callback<void> done);

  std::optional<liveness::Peer> leader() const;
  bool holds() const;
  /// "The office is still ours": fails for ever once another one took it, even if we took it again later. None while
  /// we do not hold it.
  std::optional<Compare> guard() const;
  void on_change(std::move_only_function<void(std::optional<liveness::Peer> leader, bool is_self)> sink) {
    sinks_.push_back(std::move(sink));
  }

 private:
  using Holder = Mirror<liveness::Peer>;
  Holder::EntryPtr entry() const;
  void consider();
  void take();
  void clear(const Holder::Entry& holder);
  void act(Txn txn);
  void leave(Callback<void> done);
  void retry_later();

  Store& store_;
  Loop& loop_;
  const liveness::Peer self_;
  FenceMirror& fences_;
  Holder holder_;
  bool standing_{false}, resigned_{false}, acting_{false};
  Loop::TimerId retry_{0};
  std::deque<std::move_only_function<void(std::optional<liveness::Peer>, bool)>> sinks_;
  std::shared_ptr<int> alive_{std::make_shared<int>(0)};
};

}  // namespace outlast::meta
