#include "replication/record_writer.h"

#include <algorithm>
#include <set>

#include "replication/record_batch.h"

namespace outlast::replication {
namespace {
/// Ids are never reused and the counter only grows: a range above it is unknown to this metadata, not dropped.
bool was_given_out(RangeId range, const std::vector<meta::KeyValue>& counter) {
  if (counter.empty()) return false;
  const auto last = meta::keys::parse_number(counter[0].value);
  return last && range.value <= *last;
}
Error never_heard_of(RangeId range) {
  return {Errc::kInvalidState, "the metadata store has no record of this range and never gave out the id " +
                                   range.to_string() +
                                   ": it lost or regressed its state, so the data is kept and the range is not "
                                   "served; run `outlast meta rebuild`"};
}
}  // namespace

struct RecordWriter::Change {
  RecordChange what;
  Callback<Revision> done;
  bool doubtful{false};  // an earlier try may have been applied
};

struct RecordWriter::State : std::enable_shared_from_this<State> {
  using Batch = std::vector<std::shared_ptr<Change>>;

  Loop& loop;
  meta::Store& store;
  const Identity self;
  const Parameters& parameters;
  const PlantedBugs bugs;
  std::deque<std::shared_ptr<Change>> queue;
  std::size_t batch_max;
  int running{0};
  bool pumping{false};

  State(Loop& l, meta::Store& s, Identity i, const Parameters& p, PlantedBugs b)
      : loop(l), store(s), self(std::move(i)), parameters(p), bugs(b), batch_max(p.changes_per_batch) {}

  void add(std::shared_ptr<Change> change) {
    queue.push_back(std::move(change));
    if (pumping) return;
    pumping = true;
    // Behind what the loop does at this instant: changes that one event causes in many ranges go together.
    loop.post([weak = weak_from_this()] {
      if (auto me = weak.lock()) me->pump();
    });
  }
  void pump() {
    pumping = false;
    while (running < parameters.batches_at_once && !queue.empty()) send(take_batch());
  }
  Batch take_batch() {
    Batch batch;
    std::set<std::string> keys;  // a transaction writes a key once
    while (!queue.empty() && batch.size() < batch_max && keys.insert(queue.front()->what.key).second) {
      batch.push_back(std::move(queue.front()));
      queue.pop_front();
    }
    return batch;
  }
  void send(Batch batch) {
    ++running;
    std::vector<const RecordChange*> changes;
    for (const auto& change : batch) changes.push_back(&change->what);
    store.txn(batch_of(changes), parameters.meta_timeout,
              [weak = weak_from_this(), batch = std::move(batch)](Result<meta::TxnReply> reply) {
                if (auto me = weak.lock()) me->answered(batch, std::move(reply));
              });
  }
  void answered(const Batch& batch, const Result<meta::TxnReply>& reply) {
    --running;
    const bool too_large =
        !reply.ok() && (reply.error().code == Errc::kMetaTooManyOps || reply.error().code == Errc::kTooLarge);
    if (too_large && batch.size() > 1) {
      batch_max = std::max<std::size_t>(1, batch.size() / 2);
      queue.insert(queue.begin(), batch.begin(), batch.end());
    } else if (reply.ok()) {
      for (std::size_t i = 0; i < batch.size(); ++i) decided(*batch[i], reply_of(*reply, batch.size(), i));
    } else {
      for (const auto& change : batch) failed(change, reply.error());
    }
    pump();
  }
  void failed(const std::shared_ptr<Change>& change, const Error& error) {
    const bool certain = error.code == Errc::kMetaUnavailable || error.code == Errc::kMetaTooManyOps ||
                         error.code == Errc::kTooLarge || error.code == Errc::kInvalidArgument;
    if ((certain && !change->doubtful) || bugs.doubt_is_failure) return finish(*change, error);
    // Compares only ever go from true to false, so the same change again can never apply twice.
    change->doubtful = true;
    loop.after(parameters.meta_retry, [weak = weak_from_this(), change] {
      if (auto me = weak.lock()) me->add(change);
    });
  }
  void decided(Change& change, const meta::TxnReply& reply) {
    if (reply.succeeded) return finish(change, reply.revision);
    const auto& kvs = reply.replies.at(0).kvs;
    // Only our own earlier try can have written this very text: it names a cfg that nobody else may have used for it.
    if (change.doubtful && !kvs.empty() && kvs[0].value == change.what.value)
      return finish(change, kvs[0].mod_revision);
    finish(change, Error(Errc::kMetaConflict, "the range record was changed by somebody else"));
  }
  static void finish(Change& change, Result<Revision> result) {
    auto done = std::move(change.done);
    done(std::move(result));
  }
};

RecordWriter::RecordWriter(Loop& loop, meta::Store& store, Identity self, const Parameters& parameters,
                           PlantedBugs bugs)
    : state_(std::make_shared<State>(loop, store, std::move(self), parameters, bugs)) {}
RecordWriter::~RecordWriter() = default;

void RecordWriter::change(placement::RangeConfig next, Revision seen, std::vector<meta::Compare> also,
                          Callback<Revision> done) {
  auto change = std::make_shared<Change>();
  RecordChange& what = change->what;
  what.key = meta::keys::range(next.range);
  what.value = placement::encode(next);
  what.compares = std::move(also);
  what.compares.push_back(meta::Compare::unchanged(what.key, seen));
  what.compares.push_back(meta::Compare::absent(meta::keys::fence({state_->self.node, state_->self.incarnation})));
  change->done = std::move(done);
  state_->add(std::move(change));
}

void RecordWriter::read(RangeId range, Callback<std::optional<RangeRecord>> done) {
  meta::Txn txn;
  txn.then = {meta::Op::get(meta::keys::range(range)), meta::Op::get(std::string(meta::keys::kRangeCounter))};
  state_->store.txn(std::move(txn), state_->parameters.meta_timeout,
                    [range, done = std::move(done)](Result<meta::TxnReply> reply) mutable {
                      if (!reply.ok()) return done(std::move(reply).error());
                      const auto& kvs = reply->replies.at(0).kvs;
                      if (kvs.empty()) {
                        if (!was_given_out(range, reply->replies.at(1).kvs)) return done(never_heard_of(range));
                        return done(std::optional<RangeRecord>());
                      }
                      auto config = placement::decode_range_config(kvs[0].value);
                      if (!config.ok()) return done(std::move(config).error());
                      done(std::optional<RangeRecord>(RangeRecord{*std::move(config), kvs[0].mod_revision}));
                    });
}

}  // namespace outlast::replication
