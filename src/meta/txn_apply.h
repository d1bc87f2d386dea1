#pragma once
#include <optional>
#include <string>
#include <vector>

#include "meta/store.h"

namespace outlast::meta {

/// The state that a transaction reads and writes, at one instant. An error means that the state could not be reached
/// and that the caller must undo the whole transaction.
/// Thread-safety: none; one transaction at a time.
class KvView {
 public:
  virtual ~KvView() = default;
  virtual Result<std::optional<KeyValue>> get(const std::string& key) = 0;
  /// In key order.
  virtual Result<std::vector<KeyValue>> scan(const std::string& prefix) = 0;
  /// Writes at `revision`; keeps the create revision of a key that exists.
  virtual Result<void> put(const std::string& key, const std::string& value, Revision revision) = 0;
  /// Deletes at `revision`. False when there was nothing to delete.
  virtual Result<bool> erase(const std::string& key, Revision revision) = 0;
};

/// Runs a checked transaction on a store that stands at `current`: what embedded stores and simulated ones share. All
/// compares, nested ones too, are decided before the first write. `reply.revision` is `current` or, when anything
/// changed, the next one.
Result<TxnReply> apply_txn(KvView& view, const Txn& txn, Revision current);

}  // namespace outlast::meta
