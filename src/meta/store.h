#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "base/result.h"

namespace outlast::meta {

struct KeyValue {
  std::string key, value;
  Revision mod_revision, create_revision;
};

/// One condition of a transaction. All must hold. Conditions see the state before the transaction, those of nested
/// transactions too (as etcd does). A value condition on an absent key never holds, negated or not.
struct Compare {
  enum class Kind : std::uint8_t { kModRevision, kCreateRevision, kValue };
  std::string key;
  Kind kind{Kind::kModRevision};
  Revision revision;  ///< For the revision kinds; 0 = the key is absent.
  std::string value;  ///< For kValue.
  static Compare absent(std::string key) { return {std::move(key), Kind::kModRevision, {}, {}}; }
  static Compare unchanged(std::string key, Revision mod) { return {std::move(key), Kind::kModRevision, mod, {}}; }
  static Compare exists_since(std::string key, Revision create) {
    return {std::move(key), Kind::kCreateRevision, create, {}};
  }
  /// The key exists, whatever its value: etcd and the embedded store both express it as "create revision is not 0".
  static Compare present(std::string key);
  static Compare value_is(std::string key, std::string value) {
    return {std::move(key), Kind::kValue, {}, std::move(value)};
  }
  bool negated{false};  ///< "is not" instead of "is".
};

struct Txn;
/// One operation. Gets return what the transaction sees, its own earlier writes included; prefixes come in key order.
/// A key is written at most once on every path through a transaction (etcd refuses more): kInvalidArgument.
struct Op {
  enum class Kind : std::uint8_t { kPut, kDelete, kGet, kGetPrefix, kDeletePrefix, kTxn };
  Kind kind{Kind::kGet};
  std::string key, value;
  std::shared_ptr<Txn> nested;  ///< kTxn: its own compares, so one loser does not fail the batch.
  static Op put(std::string key, std::string value) { return {Kind::kPut, std::move(key), std::move(value), nullptr}; }
  static Op del(std::string key) { return {Kind::kDelete, std::move(key), {}, nullptr}; }
  static Op get(std::string key) { return {Kind::kGet, std::move(key), {}, nullptr}; }
  static Op get_prefix(std::string key) { return {Kind::kGetPrefix, std::move(key), {}, nullptr}; }
  static Op txn(Txn txn);
};
struct Txn {
  std::vector<Compare> compares;
  std::vector<Op> then, otherwise;
};
struct OpReply;
struct TxnReply {
  bool succeeded{false};         ///< The compares held.
  Revision revision;             ///< The store's revision after the transaction; +1 if it changed anything.
  std::vector<OpReply> replies;  ///< One for each operation of the branch that ran.
};
struct OpReply {
  std::vector<KeyValue> kvs;      ///< Gets.
  std::shared_ptr<TxnReply> txn;  ///< kTxn.
};

struct Event {
  enum class Kind : std::uint8_t { kPut, kDelete };
  Kind kind{Kind::kPut};
  KeyValue kv;  ///< kDelete: key and the revision that deleted it.
};
/// What a watcher is told, in revision order and without a gap. On kReset the watcher forgets what it knew and takes
/// `state` as the whole of its prefix at `revision` (first message of every watch, and after compaction). A kEvents
/// batch holds all changes of one revision; revisions that did not touch the prefix are left out.
struct WatchBatch {
  enum class Kind : std::uint8_t { kReset, kEvents };
  Kind kind{Kind::kEvents};
  Revision revision;
  std::vector<KeyValue> state;
  std::vector<Event> events;
};
using WatchSink = std::move_only_function<void(const WatchBatch&)>;

/// The metadata store: linearizable compare-and-set transactions and watches. Two implementations, embedded (one SQLite
/// file for the processes of one machine, protocol A6) and etcd; meta/conformance_suite.h is what both must pass.
/// Thread-safety: call from any thread; callbacks and sinks run on the Loop given at construction.
/// Lifetime: destroying the store drops callbacks that have not run.
/// Errors of txn: kMetaUnavailable (certainly not applied), kMetaInDoubt (may be applied: read back), kMetaTooManyOps,
/// kTooLarge and kInvalidArgument (see check_txn). A failed compare is no error: `succeeded` is false.
class Store {
 public:
  using WatchId = std::uint64_t;
  virtual ~Store() = default;
  virtual void txn(Txn txn, Duration timeout, Callback<TxnReply> done) = 0;
  /// Starts with a kReset of the present state. One sink call per revision batch.
  virtual WatchId watch(std::string prefix, WatchSink sink) = 0;
  /// After return no further call of the sink is made (call it on the loop).
  virtual void unwatch(WatchId id) = 0;
  /// Drops history below `keep` newest revisions; watchers that lag behind it get a kReset.
  virtual void compact(std::uint64_t keep, Callback<Revision> done) = 0;
  /// True while requests are answered; a drop and return is what restarts the observers' timers (A1).
  virtual bool connected() const = 0;
  /// Called on the loop with every change of connected().
  virtual void on_connection(std::move_only_function<void(bool connected)> sink) = 0;
};

/// Bytes of keys and values in one transaction, below etcd's default request limit of 1.5 MiB.
inline constexpr std::size_t kTxnBytesMax = 1 << 20;
/// Operations of the longer branch, nested transactions and their operations each counted.
std::size_t count_ops(const Txn& txn);
/// What every implementation refuses before it looks at the data: more than `ops_max` operations (kMetaTooManyOps),
/// more than kTxnBytesMax (kTooLarge), an empty key or a key written twice on one path (kInvalidArgument).
Result<void> check_txn(const Txn& txn, std::size_t ops_max);
/// Can any path through it write?
bool is_read_only(const Txn& txn);

}  // namespace outlast::meta
