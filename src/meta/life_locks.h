#pragma once
#include <filesystem>
#include <map>
#include <memory>

#include "base/result.h"
#include "liveness/params.h"

namespace outlast::meta {

/// Proof that an incarnation's process is gone, beside the supervisor's: the third of protocol A2.3.
/// Thread-safety: the Loop's.
class DeathWatch {
 public:
  virtual ~DeathWatch() = default;
  /// True only when the process certainly executes nothing any more. False says nothing.
  virtual bool is_gone(liveness::Peer peer) = 0;
  /// Nobody will ask for this incarnation again.
  virtual void forget(liveness::Peer peer) = 0;
};

/// The same on one machine (protocol A6): every worker holds an open-file-description lock on `live/<node>.<inc>` from
/// before its first liveness record until its end. The kernel frees it when the last thread of the process is gone;
/// process numbers and namespaces do not matter, and a stopped process keeps it. The descriptor is close-on-exec and
/// never passed on.
class LifeLocks final : public DeathWatch {
 public:
  /// `dir` is the embedded store's directory; `live` in it is made. Errors: kIo.
  static Result<std::unique_ptr<LifeLocks>> open(const std::filesystem::path& dir);
  ~LifeLocks() override;
  LifeLocks(const LifeLocks&) = delete;
  LifeLocks& operator=(const LifeLocks&) = delete;

  /// Takes the lock of this process's own incarnation, before the first /live is written. Held until destruction.
  /// Errors: kIo; kStoreLocked when another process holds it.
  Result<void> hold(liveness::Peer self);
  /// One fcntl call, no waiting.
  bool is_gone(liveness::Peer peer) override;
  /// Closes and removes the incarnation's file.
  void forget(liveness::Peer peer) override;

 private:
  explicit LifeLocks(std::filesystem::path dir) : dir_(std::move(dir)) {}
  std::filesystem::path file_of(liveness::Peer peer) const;
  const std::filesystem::path dir_;
  std::map<liveness::Peer, int> held_, watched_;  ///< Descriptors.
};

}  // namespace outlast::meta
