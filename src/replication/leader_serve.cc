// Leader: from "all of S' answered" to a database that serves, and its checkpoints.
#include <spdlog/spdlog.h>

#include <atomic>

#include "replication/leader.h"
#include "replication/request_reread.h"

namespace outlast::replication {

void Leader::maybe_serve() {
  if (opening_ || held_->failed || closing()) return;
  if (held_->database_open) return;  // of an earlier leadership: comes again when it is closed
  opening_ = true;
  held_->durable = std::max(held_->durable, end_.lsn);  // A4.3 (v): now all of it is committed
  held_->database_open = true;
  served_ = make_served();
  using Database = std::shared_ptr<storage::Database>;
  held_->node.on_worker<Database>(
      held_->range, [replica = held_->replica, sink = served_] { return replica->open_database(*sink); },
      [weak = weak_from_this(), served = served_](Result<Database> database) mutable {
        if (auto me = weak.lock(); me && !me->stopped_) return me->opened(std::move(database));
        // The leadership ended meanwhile: the database goes with the range that nobody saw.
        if (database.ok()) served->set_database(*std::move(database));
      });
}

std::shared_ptr<ServedRange> Leader::make_served() {
  Loop& loop = node().loop;
  const std::weak_ptr<Leader> weak = weak_from_this();
  const std::weak_ptr<HeldReplica> held = held_;
  ServedRange::Hooks hooks;
  hooks.committed = [&loop, weak] {
    loop.post([weak] {
      if (auto me = weak.lock()) me->on_commits();
    });
  };
  // Many commits share a sync: one task tells the loop of all that it has not heard of. 0: no task is on its way.
  hooks.synced = [&loop, weak, held, latest = std::make_shared<std::atomic<std::uint64_t>>(0)](Result<Lsn> result) {
    if (result.ok() && latest->exchange(result->value) != 0) return;
    loop.post([weak, held, latest, result = std::move(result)] {
      const auto replica = held.lock();
      if (!replica) return;
      const auto me = weak.lock();
      if (!result.ok()) {
        const bool undone = result.error().code == Errc::kDiskFull || result.error().code == Errc::kLogMismatch;
        if (!undone) return replica->fail(result.error());
        return me && !me->stopped_ ? me->append_failed(result.error()) : replica->look_up_end();
      }
      replica->log.note_synced(Lsn(latest->exchange(0)));
      if (me) me->on_commits(), me->advance();
    });
  };
  hooks.reads_waiting = [&loop, weak] {
    loop.post([weak] {
      if (auto me = weak.lock()) me->on_reads();
    });
  };
  hooks.wake_lock = [&loop, weak](Instant at) {
    loop.post([&loop, weak, at] {
      loop.after(at - loop.now(), [&loop, weak] {
        if (auto me = weak.lock(); me && me->served_) me->served_->expire_lock(loop.now());
      });
    });
  };
  hooks.closed = [&loop, held] {
    loop.post([held] {
      const auto replica = held.lock();
      if (!replica) return;
      replica->database_open = false;
      replica->learn_durable(replica->durable);
      if (replica->on_database_closed) replica->on_database_closed();
    });
  };
  hooks.lease_deadline = node().lease_deadline;
  hooks.confirm_all_reads = node().confirm_all_reads;
  hooks.encode = node().encode;
  hooks.requests = held_->log.requests();
  hooks.reread = [&loop, held](Callback<void> done) {
    loop.post([held, done = std::move(done)]() mutable {
      if (auto replica = held.lock()) return reread_requests(std::move(replica), std::move(done));
      done(Error(Errc::kNotLeaseholder, "the replica is gone"));
    });
  };
  hooks.now = [&loop] { return loop.now(); };
  hooks.checkpoint_patience = node().parameters.checkpoint_patience;
  return std::make_shared<ServedRange>(held_->range, epoch_, held_->log.tail(), node().logs, held_->replica,
                                       node().parameters.pending_bytes, std::move(hooks));
}

void Leader::opened(Result<std::shared_ptr<storage::Database>> database) {
  if (!database.ok()) {
    if (database.error().code != Errc::kDiskFull) return held_->fail(database.error());
    opening_ = false;
    served_.reset();
    return no_room(database.error(), &Leader::advance);
  }
  served_->set_database(*std::move(database));
  opened_ = true;
  opened_at_ = node().loop.now();
  pending_since_ = node().loop.now();
  spdlog::info("range {}: serves in epoch {} from LSN {}", held_->range.value, epoch_.value, end_.lsn.value);
  node().publish(held_->range, served_);
  push_durable();
  push_config();
  check_room();
  if (held_->replica->applied() < held_->log.tail().lsn) ++since_checkpoint_;  // pages of leaderships before
  maybe_checkpoint();
  advance();
}

/// A large WAL slows readers down; a short one after the last commits lets the log go and makes the next opening quick.
void Leader::maybe_checkpoint() {
  if (checkpointing_ || since_checkpoint_ == 0) return;
  if (since_checkpoint_ >= node().parameters.wal_bytes) return checkpoint();
  if (checkpoint_timer_ != 0) return;
  checkpoint_timer_ =
      node().loop.after(node().parameters.checkpoint_idle, weakly([before = since_checkpoint_](Leader& me) {
                          me.checkpoint_timer_ = 0;
                          const bool idle = me.since_checkpoint_ == before;
                          if (idle && me.held_->durable == me.held_->log.tail().lsn)
                            me.checkpoint();
                          else
                            me.maybe_checkpoint();
                        }));
}

void Leader::checkpoint() {
  if (checkpointing_ || !serving()) return;
  checkpointing_ = true;
  since_checkpoint_ = 0;
  node().on_worker<Lsn>(
      held_->range, [served = served_] { return served->database().checkpoint(); },
      weakly([](Leader& me, Result<Lsn> mark) {
        me.checkpointing_ = false;
        if (!mark.ok() && me.held_->replica->damaged()) return me.held_->fail(mark.error());
        if (!mark.ok()) {
          spdlog::info("range {}: checkpoint put off: {}", me.held_->range.value, mark.error().to_string());
          ++me.since_checkpoint_;  // try again with the next commit or idle instant
        }
        me.maybe_checkpoint();
      }));
}

void Leader::digest(Callback<storage::Digest> done) {
  if (!serving()) return done(Error(Errc::kNotLeaseholder, "the range is not served here"));
  auto shared = std::make_shared<Callback<storage::Digest>>(std::move(done));
  const auto fail = [shared](Error why) { (*shared)(std::move(why)); };
  const Instant deadline = node().loop.now() + std::chrono::seconds(5);
  // No commit may run meanwhile: hold the writer lock, wait until what is assigned is durable, then read the file.
  served_->writer_lock().acquire(
      deadline, false, [&loop = node().loop, weak = weak_from_this(), shared, fail](Result<WriterLock::Hold> hold) {
        loop.post([weak, shared, fail, hold = std::move(hold)]() mutable {
          if (!hold.ok()) return fail(hold.error());
          const auto me = weak.lock();
          if (!me || !me->serving()) return fail({Errc::kNotLeaseholder, "the range is no longer served here"});
          auto served = me->served_;
          auto ready = [weak, shared, fail, served, hold = *std::move(hold)](Result<void> result) mutable {
            const auto self = weak.lock();
            if (!result.ok()) return fail(result.error());
            if (!self || !self->serving()) return fail({Errc::kNotLeaseholder, "the range is no longer served here"});
            self->node().on_worker<storage::Digest>(
                served->id(), [served, replica = self->held_->replica] { return replica->digest(); },
                [shared, hold = std::move(hold)](Result<storage::Digest> digest) mutable {
                  hold.release();
                  (*shared)(std::move(digest));
                });
          };
          served->wait_durable(served->assigned(), Waits::kRead, std::move(ready));
        });
      });
}

}  // namespace outlast::replication
