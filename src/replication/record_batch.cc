#include "replication/record_batch.h"

namespace outlast::replication {
namespace {
meta::Txn one(const RecordChange& change) {
  meta::Txn txn;
  txn.compares = change.compares;
  txn.then = {meta::Op::put(change.key, change.value)};
  txn.otherwise = {meta::Op::get(change.key)};
  return txn;
}
}  // namespace

meta::Txn batch_of(const std::vector<const RecordChange*>& changes) {
  OUTLAST_ASSERT(!changes.empty(), "a batch has changes");
  if (changes.size() == 1) return one(*changes.front());
  meta::Txn txn;
  for (const RecordChange* change : changes) txn.then.push_back(meta::Op::txn(one(*change)));
  return txn;
}

const meta::TxnReply& reply_of(const meta::TxnReply& whole, std::size_t count, std::size_t index) {
  return count == 1 ? whole : *whole.replies.at(index).txn;
}

}  // namespace outlast::replication
