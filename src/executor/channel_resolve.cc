// What becomes of a write is recorded with it, and told to its gateway when the answer got lost (protocol A5.6).
#include <algorithm>

#include "executor/channel_core.h"

namespace outlast::executor {
namespace {

/// Columns and rows of a RETURNING, as the gateway wants them; empty when they are too much to keep.
std::string result_to_keep(const proto::ExecReply& reply, const StoredRows& rows) {
  if (reply.columns_size() == 0 || rows.bytes() > storage::kResultBytesMax) return {};
  proto::ExecReply kept;
  *kept.mutable_columns() = reply.columns();
  kept.set_rows(rows.all());
  std::string bytes = kept.SerializeAsString();
  return bytes.size() <= storage::kResultBytesMax ? bytes : std::string();
}

constexpr std::string_view kReturning = " RETURNING";  // ends the tag of a write that gave rows
constexpr std::size_t kTagBytesMax = 64;

}  // namespace

/// Of the autocommit write that was just executed.
storage::RequestOutcome ChannelCore::outcome_of_write() const {
  const Op& op = *op_;
  storage::RequestOutcome outcome{gateway_, op.request.run().request_id(), op.changes,
                                  op.request.run().tag().substr(0, kTagBytesMax),
                                  result_to_keep(op.reply, op.returned)};
  if (op.reply.columns_size() > 0) outcome.tag += kReturning;
  return outcome;
}

/// Not refused by a closed gate: the question is about the past, and its answer needs no lease.
void ChannelCore::handle_resolve() {
  Op& op = *op_;
  const proto::Resolve& ask = op.request.resolve();
  services_->counters.resolves.fetch_add(1, std::memory_order_relaxed);
  Result<replication::LeasedRangePtr> range =
      services_->directory.find(RangeId(op.request.range()), Epoch(op.request.epoch()));
  if (!range.ok()) return fail(std::move(range).error());
  op.range = *range;
  const std::optional<std::uint64_t> number = enter_wait(Wait::kDurable, op.deadline);
  if (!number) return fail(Error(Errc::kCancelled, "canceling statement due to user request"));
  const replication::RequestQuestion question{{gateway_, ask.request_id()},
                                              Epoch(ask.addressed_epoch()),
                                              Lsn(ask.after_lsn()),
                                              std::chrono::milliseconds(ask.age_ms())};
  (*range)->resolve(question, [self = shared_from_this(), number, keep = *range](auto told) {
    self->resolved(*number, std::move(told));
  });
}

void ChannelCore::resolved(std::uint64_t number, Result<replication::RequestAnswer> told) {
  using Kind = replication::RequestAnswer::Kind;
  {
    const std::lock_guard lock(mutex_);
    if (wait_ != Wait::kDurable || wait_number_ != number) return;
    wait_ = Wait::kNone;
  }
  if (!told.ok()) return gate_failed(std::move(told).error());
  proto::ExecReply& reply = op_->reply;
  const storage::RequestOutcome& outcome = told->outcome;
  if (told->kind == Kind::kApplied) {
    const bool kept = !outcome.result.empty() && reply.ParseFromString(outcome.result);
    if (!kept) reply.Clear();
    reply.set_changes(outcome.changes);
    reply.mutable_resolved()->set_state(proto::Resolved::APPLIED);
    reply.mutable_resolved()->set_rows_lost(!kept && outcome.tag.ends_with(kReturning));
    op_->gate = told->lsn;
  } else {
    reply.mutable_resolved()->set_state(proto::Resolved::ABSENT);
    reply.mutable_resolved()->set_certain(told->certain);
    const auto covered = std::chrono::duration_cast<std::chrono::milliseconds>(told->covered).count();
    reply.mutable_resolved()->set_covered_ms(static_cast<std::uint64_t>(std::max<std::int64_t>(0, covered)));
  }
  deliver();
}

}  // namespace outlast::executor
