#pragma once
#include <string>
#include <vector>

#include "meta/store.h"

namespace outlast::replication {

/// A change of one range record, with everything that must hold for it.
struct RecordChange {
  std::string key, value;
  std::vector<meta::Compare> compares;
};

/// One metadata transaction for several changes of different records (protocol A3, bulk): each in a nested transaction
/// with its own compares, so that one loser does not fail the others. A single change stays flat. Where a change does
/// not apply, the store answers with the record as it is. Pure.
meta::Txn batch_of(const std::vector<const RecordChange*>& changes);
/// What the store's answer to batch_of(`count` changes) says of the change at `index`.
const meta::TxnReply& reply_of(const meta::TxnReply& whole, std::size_t count, std::size_t index);

}  // namespace outlast::replication
