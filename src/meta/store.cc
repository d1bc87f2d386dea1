#include "meta/store.h"

#include <algorithm>
#include <set>

namespace outlast::meta {
namespace {

/// What one path through a transaction writes; branches of one transaction exclude each other and are checked apart.
struct Writes {
  std::set<std::string> puts;
  std::set<std::string> deletes, deleted_prefixes;
};

Error written_twice(const std::string& key) {
  return Error(Errc::kInvalidArgument, "metadata transaction writes the key " + key +
                                           " twice; write each key once, as every metadata store demands");
}

bool is_deleted(const Writes& writes, const std::string& key) {
  return writes.deletes.contains(key) ||
         std::ranges::any_of(writes.deleted_prefixes, [&](const auto& prefix) { return key.starts_with(prefix); });
}

bool puts_into(const Writes& writes, const std::string& prefix) {
  const auto first = writes.puts.lower_bound(prefix);
  return first != writes.puts.end() && first->starts_with(prefix);
}

Result<void> add_put(Writes& writes, const std::string& key) {
  if (is_deleted(writes, key) || !writes.puts.insert(key).second) return written_twice(key);
  return {};
}

Result<void> merge(Writes& into, const Writes& more) {
  for (const auto& key : more.puts) TRY(add_put(into, key));
  for (const auto& key : more.deletes) {
    if (into.puts.contains(key)) return written_twice(key);
    into.deletes.insert(key);
  }
  for (const auto& prefix : more.deleted_prefixes) {
    if (puts_into(into, prefix)) return written_twice(prefix + "…");
    into.deleted_prefixes.insert(prefix);
  }
  return {};
}

Result<Writes> writes_of(const std::vector<Op>& branch);

/// Both branches of a nested transaction against what its parent writes; either may run.
Result<void> merge_nested(Writes& into, const Txn& nested) {
  ASSIGN_OR_RETURN(const Writes then, writes_of(nested.then));
  ASSIGN_OR_RETURN(const Writes otherwise, writes_of(nested.otherwise));
  Writes with_then = into;
  TRY(merge(with_then, then));
  TRY(merge(into, otherwise));
  into.puts.merge(with_then.puts);
  into.deletes.merge(with_then.deletes);
  into.deleted_prefixes.merge(with_then.deleted_prefixes);
  return {};
}

Result<Writes> writes_of(const std::vector<Op>& branch) {
  Writes writes;
  for (const Op& op : branch) {
    Writes one;
    switch (op.kind) {
      case Op::Kind::kPut:
        one.puts.insert(op.key);
        break;
      case Op::Kind::kDelete:
        one.deletes.insert(op.key);
        break;
      case Op::Kind::kDeletePrefix:
        one.deleted_prefixes.insert(op.key);
        break;
      case Op::Kind::kTxn:
        TRY(merge_nested(writes, *op.nested));
        continue;
      case Op::Kind::kGet:
      case Op::Kind::kGetPrefix:
        continue;
    }
    TRY(merge(writes, one));
  }
  return writes;
}

Result<std::size_t> bytes_of(const Txn& txn) {
  std::size_t bytes = 0;
  for (const Compare& compare : txn.compares) {
    if (compare.key.empty()) return Error(Errc::kInvalidArgument, "a metadata transaction compares an empty key");
    bytes += compare.key.size() + compare.value.size();
  }
  for (const auto* branch : {&txn.then, &txn.otherwise}) {
    for (const Op& op : *branch) {
      if (op.kind == Op::Kind::kTxn) {
        ASSIGN_OR_RETURN(const std::size_t nested, bytes_of(*op.nested));
        bytes += nested;
      } else if (op.key.empty()) {
        return Error(Errc::kInvalidArgument, "a metadata operation has an empty key");
      }
      bytes += op.key.size() + op.value.size();
    }
  }
  return bytes;
}

std::size_t count_branch(const std::vector<Op>& branch) {
  std::size_t count = branch.size();
  for (const Op& op : branch)
    if (op.kind == Op::Kind::kTxn) count += count_ops(*op.nested);
  return count;
}

bool reads_only(const std::vector<Op>& branch) {
  return std::ranges::all_of(branch, [](const Op& op) {
    if (op.kind == Op::Kind::kTxn) return is_read_only(*op.nested);
    return op.kind == Op::Kind::kGet || op.kind == Op::Kind::kGetPrefix;
  });
}

}  // namespace

Compare Compare::present(std::string key) {
  Compare compare{std::move(key), Kind::kCreateRevision, {}, {}};
  compare.negated = true;
  return compare;
}

Op Op::txn(Txn txn) {
  return {Kind::kTxn, {}, {}, std::make_shared<Txn>(std::move(txn))};
}

std::size_t count_ops(const Txn& txn) {
  return std::max(count_branch(txn.then), count_branch(txn.otherwise));
}

bool is_read_only(const Txn& txn) {
  return reads_only(txn.then) && reads_only(txn.otherwise);
}

Result<void> check_txn(const Txn& txn, std::size_t ops_max) {
  if (const std::size_t ops = count_ops(txn); ops > ops_max)
    return Error(Errc::kMetaTooManyOps, "metadata transaction has " + std::to_string(ops) + " operations, more than " +
                                            std::to_string(ops_max) + "; halve it");
  ASSIGN_OR_RETURN(const std::size_t bytes, bytes_of(txn));
  if (bytes > kTxnBytesMax)
    return Error(Errc::kTooLarge, "metadata transaction has " + std::to_string(bytes) + " bytes, more than " +
                                      std::to_string(kTxnBytesMax) + "; split it");
  for (const auto* branch : {&txn.then, &txn.otherwise})
    if (auto writes = writes_of(*branch); !writes.ok()) return std::move(writes).error();
  return {};
}

}  // namespace outlast::meta
