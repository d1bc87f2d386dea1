#include "etcd/codec.h"

#include <algorithm>

namespace outlast::etcd {
namespace {

std::size_t deepest(const std::vector<meta::Op>& branch) {
  std::size_t most = 0;
  for (const meta::Op& op : branch)
    if (op.nested) most = std::max(most, depth_ops(*op.nested));
  return most;
}

Result<void> check_key(const std::string& key) {
  if (key.starts_with('/')) return {};
  return Error(Errc::kInvalidArgument, "the metadata key '" + key + "' does not begin with a slash");
}

Result<void> check_keys(const meta::Txn& txn) {
  for (const meta::Compare& compare : txn.compares) TRY(check_key(compare.key));
  for (const auto* branch : {&txn.then, &txn.otherwise})
    for (const meta::Op& op : *branch) {
      if (op.nested)
        TRY(check_keys(*op.nested));
      else
        TRY(check_key(op.key));
    }
  return {};
}

std::int64_t number(Revision revision) {
  return static_cast<std::int64_t>(revision.value);
}
Revision revision(std::int64_t number) {
  return Revision(static_cast<std::uint64_t>(number));
}

/// Nested answers name no revision of their own.
void stamp(meta::TxnReply& reply, Revision at) {
  reply.revision = at;
  for (meta::OpReply& one : reply.replies)
    if (one.txn) stamp(*one.txn, at);
}

}  // namespace

std::size_t depth_ops(const meta::Txn& txn) {
  return std::max({txn.compares.size(), txn.then.size(), txn.otherwise.size()}) +
         std::max(deepest(txn.then), deepest(txn.otherwise));
}

std::string end_of_prefix(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  if (prefix.empty()) return std::string(1, '\0');  // "everything from here on"
  ++prefix.back();
  return prefix;
}

Result<void> Codec::check(const meta::Txn& txn) {
  TRY(meta::check_txn(txn, SIZE_MAX));  // operations are counted as etcd does, next
  if (const std::size_t ops = depth_ops(txn); ops > kOpsMax)
    return Error(Errc::kMetaTooManyOps, "metadata transaction has " + std::to_string(ops) +
                                            " operations as etcd counts them, more than " + std::to_string(kOpsMax) +
                                            "; halve it");
  return check_keys(txn);
}

pb::Compare Codec::compare(const meta::Compare& compare) const {
  pb::Compare out;
  out.set_key(full(compare.key));
  out.set_result(compare.negated ? pb::Compare::NOT_EQUAL : pb::Compare::EQUAL);
  switch (compare.kind) {
    case meta::Compare::Kind::kModRevision:
      out.set_target(pb::Compare::MOD);
      out.set_mod_revision(number(compare.revision));
      break;
    case meta::Compare::Kind::kCreateRevision:
      out.set_target(pb::Compare::CREATE);
      out.set_create_revision(number(compare.revision));
      break;
    case meta::Compare::Kind::kValue:
      out.set_target(pb::Compare::VALUE);
      out.set_value(compare.value);
      break;
  }
  return out;
}

pb::RangeRequest Codec::range(std::string_view prefix) const {
  pb::RangeRequest out;
  out.set_key(full(prefix));
  out.set_range_end(end_of_prefix(full(prefix)));
  return out;
}

pb::WatchCreateRequest Codec::watch_all(std::uint64_t from) const {
  pb::WatchCreateRequest out;
  out.set_key(full("/"));
  out.set_range_end(end_of_prefix(full("/")));
  out.set_start_revision(static_cast<std::int64_t>(from));
  out.set_progress_notify(true);
  return out;
}

pb::TxnRequest Codec::probe() const {
  pb::TxnRequest out;
  pb::RangeRequest* range = out.add_success()->mutable_range();
  range->set_key(full("/"));
  range->set_keys_only(true);
  range->set_limit(1);
  return out;
}

pb::RequestOp Codec::op(const meta::Op& op) const {
  pb::RequestOp out;
  switch (op.kind) {
    case meta::Op::Kind::kPut:
      out.mutable_put()->set_key(full(op.key));
      out.mutable_put()->set_value(op.value);
      break;
    case meta::Op::Kind::kDelete:
      out.mutable_delete_range()->set_key(full(op.key));
      break;
    case meta::Op::Kind::kDeletePrefix:
      out.mutable_delete_range()->set_key(full(op.key));
      out.mutable_delete_range()->set_range_end(end_of_prefix(full(op.key)));
      break;
    case meta::Op::Kind::kGet:
      out.mutable_range()->set_key(full(op.key));
      break;
    case meta::Op::Kind::kGetPrefix:
      *out.mutable_range() = range(op.key);
      break;
    case meta::Op::Kind::kTxn: {
      pb::TxnRequest& nested = *out.mutable_txn();
      for (const meta::Compare& one : op.nested->compares) *nested.add_compare() = compare(one);
      for (const meta::Op& one : op.nested->then) *nested.add_success() = this->op(one);
      for (const meta::Op& one : op.nested->otherwise) *nested.add_failure() = this->op(one);
      break;
    }
  }
  return out;
}

/// A transaction without any operation would be evaluated by the member that it reaches without asking the others (etcd
/// takes it for one of serializable reads only), on a state that may be old. One read makes it linearizable.
pb::TxnRequest Codec::request(const meta::Txn& txn) const {
  pb::TxnRequest out = txn.then.empty() && txn.otherwise.empty() ? probe() : pb::TxnRequest();
  for (const meta::Compare& one : txn.compares) *out.add_compare() = compare(one);
  for (const meta::Op& one : txn.then) *out.add_success() = op(one);
  for (const meta::Op& one : txn.otherwise) *out.add_failure() = op(one);
  return out;
}

meta::KeyValue Codec::key_value(const pb::KeyValue& kv) const {
  const std::string_view key = kv.key();
  return {std::string(key.substr(std::min(key.size(), prefix_.size()))), kv.value(), revision(kv.mod_revision()),
          revision(kv.create_revision())};
}

meta::Event Codec::event(const pb::Event& event) const {
  const bool is_put = event.type() == pb::Event::PUT;
  meta::Event out{is_put ? meta::Event::Kind::kPut : meta::Event::Kind::kDelete, key_value(event.kv())};
  return out;
}

namespace {
meta::TxnReply shape(const Codec& codec, const meta::Txn& txn, const pb::TxnResponse& response) {
  meta::TxnReply reply;
  reply.succeeded = response.succeeded();
  const auto& branch = response.succeeded() ? txn.then : txn.otherwise;
  for (std::size_t i = 0; i < branch.size(); ++i) {
    meta::OpReply one;
    // A newer server that answers less than it was asked would be its bug; an empty reply is the safe reading.
    static const pb::ResponseOp kNothing;
    const int index = static_cast<int>(i);
    const pb::ResponseOp& got = index < response.responses_size() ? response.responses(index) : kNothing;
    for (const pb::KeyValue& kv : got.range().kvs()) one.kvs.push_back(codec.key_value(kv));
    if (branch[i].nested) one.txn = std::make_shared<meta::TxnReply>(shape(codec, *branch[i].nested, got.txn()));
    reply.replies.push_back(std::move(one));
  }
  return reply;
}
}  // namespace

meta::TxnReply Codec::reply(const meta::Txn& txn, const pb::TxnResponse& response) const {
  meta::TxnReply reply = shape(*this, txn, response);
  stamp(reply, revision(response.header().revision()));
  return reply;
}

bool changed(const pb::TxnResponse& response) {
  return std::ranges::any_of(response.responses(), [](const pb::ResponseOp& op) {
    return op.has_put() || op.delete_range().deleted() > 0 || (op.has_txn() && changed(op.txn()));
  });
}

}  // namespace outlast::etcd
