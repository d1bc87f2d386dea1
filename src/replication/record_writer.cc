#include "replication/record_writer.h"

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
  std::string key, value;
  std::vector<meta::Compare> compares;
  Callback<Revision> done;
  bool doubtful{false};  // an earlier try may have been applied
};

struct RecordWriter::State : std::enable_shared_from_this<State> {
  Loop& loop;
  meta::Store& store;
  const Identity self;
  const Parameters& parameters;
  const PlantedBugs bugs;
  std::deque<std::shared_ptr<Change>> queue;
  int running{0};

  State(Loop& l, meta::Store& s, Identity i, const Parameters& p, PlantedBugs b)
      : loop(l), store(s), self(std::move(i)), parameters(p), bugs(b) {}

  void pump() {
    while (running < parameters.changes_at_once && !queue.empty()) {
      auto next = std::move(queue.front());
      queue.pop_front();
      ++running;
      send(std::move(next));
    }
  }
  void send(std::shared_ptr<Change> change) {
    meta::Txn txn;
    txn.compares = change->compares;
    txn.then = {meta::Op::put(change->key, change->value)};
    txn.otherwise = {meta::Op::get(change->key)};
    store.txn(std::move(txn), parameters.meta_timeout, [weak = weak_from_this(), change](Result<meta::TxnReply> reply) {
      if (auto me = weak.lock()) me->answered(change, std::move(reply));
    });
  }
  void answered(const std::shared_ptr<Change>& change, Result<meta::TxnReply> reply) {
    if (!reply.ok()) {
      const bool doubt = (change->doubtful || reply.error().code != Errc::kMetaUnavailable) && !bugs.doubt_is_failure;
      if (!doubt) return finish(change, std::move(reply).error());
      // Compares only ever go from true to false, so the same transaction again can never apply twice.
      change->doubtful = true;
      loop.after(parameters.meta_retry, [weak = weak_from_this(), change] {
        if (auto me = weak.lock()) me->send(change);
      });
      return;
    }
    if (reply->succeeded) return finish(change, reply->revision);
    const auto& kvs = reply->replies.at(0).kvs;
    // Only our own earlier try can have written this very text: it names a cfg that nobody else may have used for it.
    if (change->doubtful && !kvs.empty() && kvs[0].value == change->value) return finish(change, kvs[0].mod_revision);
    finish(change, Error(Errc::kMetaConflict, "the range record was changed by somebody else"));
  }
  void finish(const std::shared_ptr<Change>& change, Result<Revision> result) {
    --running;
    auto done = std::move(change->done);
    done(std::move(result));
    pump();
  }
};

RecordWriter::RecordWriter(Loop& loop, meta::Store& store, Identity self, const Parameters& parameters,
                           PlantedBugs bugs)
    : state_(std::make_shared<State>(loop, store, std::move(self), parameters, bugs)) {}
RecordWriter::~RecordWriter() = default;

void RecordWriter::change(placement::RangeConfig next, Revision seen, std::vector<meta::Compare> also,
                          Callback<Revision> done) {
  auto change = std::make_shared<Change>();
  change->key = meta::keys::range(next.range);
  change->value = placement::encode(next);
  change->compares = std::move(also);
  change->compares.push_back(meta::Compare::unchanged(change->key, seen));
  change->compares.push_back(meta::Compare::absent(meta::keys::fence({state_->self.node, state_->self.incarnation})));
  change->done = std::move(done);
  state_->queue.push_back(std::move(change));
  state_->pump();
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
