#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "meta/store.h"
#include "proto/etcd.pb.h"

namespace outlast::etcd {

namespace pb = ::etcdserverpb;

/// etcd's default for the size of a transaction (--max-txn-ops). It counts, on each path down through nested
/// transactions, the longest of compares, then and otherwise of every level.
inline constexpr std::size_t kOpsMax = 128;
/// The size of a transaction as etcd counts it.
std::size_t depth_ops(const meta::Txn& txn);

/// All keys of one cluster lie under `prefix`, which this class puts on and takes off.
class Codec {
 public:
  explicit Codec(std::string prefix) : prefix_(std::move(prefix)) {}

  /// What etcd would refuse, refused before it is sent: kMetaTooManyOps, kTooLarge, kInvalidArgument (a key that does
  /// not begin with a slash would leave the cluster's prefix).
  static Result<void> check(const meta::Txn& txn);
  /// A checked transaction as a request.
  pb::TxnRequest request(const meta::Txn& txn) const;
  /// The answer to request(txn).
  meta::TxnReply reply(const meta::Txn& txn, const pb::TxnResponse& response) const;

  pb::RangeRequest range(std::string_view prefix) const;  ///< All keys that begin with it.
  pb::WatchCreateRequest watch_all(std::uint64_t from) const;
  /// A linearizable read that costs next to nothing.
  pb::TxnRequest probe() const;
  meta::KeyValue key_value(const pb::KeyValue& kv) const;
  meta::Event event(const pb::Event& event) const;

 private:
  pb::Compare compare(const meta::Compare& compare) const;
  pb::RequestOp op(const meta::Op& op) const;
  std::string full(std::string_view key) const { return prefix_ + std::string(key); }
  const std::string prefix_;
};

/// Did the transaction put or delete anything?
bool changed(const pb::TxnResponse& response);
/// The first key after all that begin with `prefix`: etcd's end of a range.
std::string end_of_prefix(std::string prefix);

}  // namespace outlast::etcd
