#include "meta/cas.h"

#include <algorithm>
#include <memory>

namespace outlast::meta {
namespace {

/// One update on its way; keeps itself alive through the callbacks it hands to the store.
class Update : public std::enable_shared_from_this<Update> {
 public:
  Update(Store& store, std::vector<std::string> keys, Planner plan, Callback<Revision> done, int attempts)
      : store_(store), keys_(std::move(keys)), plan_(std::move(plan)), done_(std::move(done)), attempts_(attempts) {}

  void start() {
    Txn read;
    for (const std::string& key : keys_) read.then.push_back(Op::get(key));
    store_.txn(std::move(read), kMetaTimeout,
               [self = shared_from_this()](Result<TxnReply> reply) { self->on_read(std::move(reply)); });
  }

 private:
  void on_read(Result<TxnReply> reply) {
    if (!reply.ok()) return finish(std::move(reply).error());
    Snapshot seen;
    for (OpReply& one : reply->replies)
      for (KeyValue& kv : one.kvs) seen.emplace(kv.key, kv);
    Result<Plan> plan = plan_(seen);
    if (!plan.ok()) return finish(std::move(plan).error());
    if (plan->ops.empty()) return finish(reply->revision);
    Txn write{.compares = std::move(plan->compares), .then = std::move(plan->ops), .otherwise = {}};
    for (const std::string& key : keys_) {
      const auto it = seen.find(key);
      const Revision mod = it == seen.end() ? Revision{} : it->second.mod_revision;
      write.compares.push_back(Compare::unchanged(key, mod));
      write.otherwise.push_back(Op::get(key));
    }
    store_.txn(std::move(write), kMetaTimeout,
               [self = shared_from_this(), seen = std::move(seen)](Result<TxnReply> written) {
                 self->on_written(std::move(written), seen);
               });
  }

  void on_written(Result<TxnReply> reply, const Snapshot& seen) {
    if (reply.ok() && reply->succeeded) return finish(reply->revision);
    if (!reply.ok() && reply.error().code != Errc::kMetaInDoubt) return finish(std::move(reply).error());
    in_doubt_ = in_doubt_ || !reply.ok();
    if (reply.ok() && !lost_a_race(*reply, seen))
      return finish(Error(Errc::kMetaConflict, "a condition of the change no longer holds; nothing was changed"));
    if (--attempts_ > 0) return start();
    if (!reply.ok()) return finish(std::move(reply).error());
    finish(Error(Errc::kMetaConflict, "others kept changing the same metadata; nothing was changed, try again"));
  }

  bool lost_a_race(const TxnReply& reply, const Snapshot& seen) const {
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      const auto it = seen.find(keys_[i]);
      const Revision before = it == seen.end() ? Revision{} : it->second.mod_revision;
      const auto& kvs = reply.replies[i].kvs;
      if ((kvs.empty() ? Revision{} : kvs[0].mod_revision) != before) return true;
    }
    return false;
  }

  void finish(Result<Revision> result) {
    // "Certainly not applied" is no longer true of the whole once one of its writes was in doubt.
    const bool claims_nothing =
        !result.ok() && (result.error().code == Errc::kMetaUnavailable || result.error().code == Errc::kMetaConflict);
    if (in_doubt_ && claims_nothing) result.error().code = Errc::kMetaInDoubt;
    std::exchange(done_, {})(std::move(result));
  }

  Store& store_;
  const std::vector<std::string> keys_;
  Planner plan_;
  Callback<Revision> done_;
  int attempts_;
  bool in_doubt_{false};
};

constexpr std::size_t kEraseAtOnce = 100;  ///< etcd takes 128 operations in one transaction.

void erase_from(Store& store, std::vector<std::string> doomed, std::size_t gone, Callback<std::size_t> done) {
  if (gone == doomed.size()) return done(gone);
  const std::size_t end = std::min(gone + kEraseAtOnce, doomed.size());
  Txn txn;
  for (std::size_t i = gone; i < end; ++i) txn.then.push_back(Op::del(doomed[i]));
  store.txn(std::move(txn), kMetaTimeout,
            [&store, doomed = std::move(doomed), end, done = std::move(done)](Result<TxnReply> reply) mutable {
              if (!reply.ok()) return done(std::move(reply).error());
              erase_from(store, std::move(doomed), end, std::move(done));
            });
}

}  // namespace

void update(Store& store, std::vector<std::string> keys, Planner plan, Callback<Revision> done, int attempts) {
  std::make_shared<Update>(store, std::move(keys), std::move(plan), std::move(done), attempts)->start();
}

Callback<Revision> without_revision(Callback<void> done) {
  return [done = std::move(done)](Result<Revision> written) mutable {
    if (!written.ok()) return done(std::move(written).error());
    done({});
  };
}

void erase(Store& store, std::vector<std::string> keys, Callback<std::size_t> done) {
  erase_from(store, std::move(keys), 0, std::move(done));
}

void read(Store& store, std::string key, Callback<std::optional<KeyValue>> done) {
  Txn txn;
  txn.then.push_back(Op::get(std::move(key)));
  store.txn(std::move(txn), kMetaTimeout, [done = std::move(done)](Result<TxnReply> reply) mutable {
    if (!reply.ok()) return done(std::move(reply).error());
    auto& kvs = reply->replies[0].kvs;
    done(kvs.empty() ? std::optional<KeyValue>() : std::optional(std::move(kvs[0])));
  });
}

}  // namespace outlast::meta
