#pragma once
#include "replication/served_range.h"

namespace outlast::replication {

/// Writers whose entries were in the log, not yet durable, when their leadership fell back (protocol A5.4): the next
/// leadership of the same process tells them what became of their entries. Who was never told, when this object goes,
/// hears that the outcome is unknown. Thread-safety: loop only.
class UndecidedWrites {
 public:
  UndecidedWrites(Epoch of, ServedRange::Waiters writers) : epoch_(of), writers_(std::move(writers)) {}
  ~UndecidedWrites() {
    for (auto& [lsn, writer] : writers_)
      writer.done(Error(Errc::kRangeUnavailable, "the range was taken over before the write's fate was known"));
  }
  UndecidedWrites(const UndecidedWrites&) = delete;
  UndecidedWrites& operator=(const UndecidedWrites&) = delete;

  Epoch epoch() const { return epoch_; }
  /// Every member of S' has the log up to `end`, and nothing of the old epoch above it.
  void decide(Lsn end) {
    for (auto& [lsn, writer] : std::exchange(writers_, {}))
      if (lsn <= end)
        writer.done({});
      else
        writer.done(Error(Errc::kTransactionLost,
                          "the write could not be stored and was certainly not applied; run the transaction again"));
  }

 private:
  const Epoch epoch_;
  ServedRange::Waiters writers_;
};

}  // namespace outlast::replication
