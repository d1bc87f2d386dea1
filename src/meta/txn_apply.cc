#include "meta/txn_apply.h"

#include <utility>

namespace outlast::meta {
namespace {

/// Which branches run: decided for the whole tree before anything is written.
struct Path {
  bool succeeded{true};
  std::vector<Path> nested;  ///< One for each kTxn of the branch that runs, in order.
};

Result<bool> holds(KvView& view, const Compare& compare) {
  ASSIGN_OR_RETURN(const std::optional<KeyValue> kv, view.get(compare.key));
  switch (compare.kind) {
    case Compare::Kind::kModRevision:
      return ((kv ? kv->mod_revision : Revision{}) == compare.revision) != compare.negated;
    case Compare::Kind::kCreateRevision:
      return ((kv ? kv->create_revision : Revision{}) == compare.revision) != compare.negated;
    case Compare::Kind::kValue:
      return kv && (kv->value == compare.value) != compare.negated;
  }
  return false;
}

Result<Path> decide(KvView& view, const Txn& txn) {
  Path path;
  for (const Compare& compare : txn.compares) {
    ASSIGN_OR_RETURN(const bool ok, holds(view, compare));
    path.succeeded = path.succeeded && ok;
  }
  for (const Op& op : path.succeeded ? txn.then : txn.otherwise) {
    if (op.kind != Op::Kind::kTxn) continue;
    ASSIGN_OR_RETURN(Path nested, decide(view, *op.nested));
    path.nested.push_back(std::move(nested));
  }
  return path;
}

class Run {
 public:
  Run(KvView& view, Revision current) : view_(view), current_(current) {}

  Result<TxnReply> txn(const Txn& txn, const Path& path) {
    TxnReply reply{.succeeded = path.succeeded, .revision = current_, .replies = {}};
    auto nested = path.nested.begin();
    for (const Op& op : path.succeeded ? txn.then : txn.otherwise) {
      OpReply one;
      if (op.kind == Op::Kind::kTxn) {
        ASSIGN_OR_RETURN(TxnReply inner, this->txn(*op.nested, *nested++));
        one.txn = std::make_shared<TxnReply>(std::move(inner));
      } else {
        ASSIGN_OR_RETURN(one.kvs, this->op(op));
      }
      reply.replies.push_back(std::move(one));
    }
    return reply;
  }
  Revision revision() const { return changed_ ? current_.next() : current_; }

 private:
  Result<std::vector<KeyValue>> op(const Op& op) {
    std::vector<KeyValue> kvs;
    switch (op.kind) {
      case Op::Kind::kPut:
        TRY(view_.put(op.key, op.value, current_.next()));
        changed_ = true;
        break;
      case Op::Kind::kDelete:
        TRY(erase(op.key));
        break;
      case Op::Kind::kDeletePrefix: {
        ASSIGN_OR_RETURN(const std::vector<KeyValue> doomed, view_.scan(op.key));
        for (const KeyValue& kv : doomed) TRY(erase(kv.key));
        break;
      }
      case Op::Kind::kGet: {
        ASSIGN_OR_RETURN(std::optional<KeyValue> kv, view_.get(op.key));
        if (kv) kvs.push_back(*std::move(kv));
        break;
      }
      case Op::Kind::kGetPrefix:
        return view_.scan(op.key);
      case Op::Kind::kTxn:
        break;  // handled by txn()
    }
    return kvs;
  }
  Result<void> erase(const std::string& key) {
    ASSIGN_OR_RETURN(const bool erased, view_.erase(key, current_.next()));
    changed_ = changed_ || erased;
    return {};
  }

  KvView& view_;
  const Revision current_;
  bool changed_{false};
};

/// Every nested reply names the revision after the whole transaction.
void stamp(TxnReply& reply, Revision revision) {
  reply.revision = revision;
  for (OpReply& one : reply.replies)
    if (one.txn) stamp(*one.txn, revision);
}

}  // namespace

Result<TxnReply> apply_txn(KvView& view, const Txn& txn, Revision current) {
  ASSIGN_OR_RETURN(const Path path, decide(view, txn));
  Run run(view, current);
  ASSIGN_OR_RETURN(TxnReply reply, run.txn(txn, path));
  stamp(reply, run.revision());
  return reply;
}

}  // namespace outlast::meta
