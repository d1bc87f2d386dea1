// Rows of a load on their way to where they belong.
#include <algorithm>
#include <utility>

#include "loads/load.h"

namespace outlast::loads {
namespace asio = boost::asio;

namespace {
constexpr std::size_t kWaitingBatches = 8;  ///< In memory at most, for all partitions together.

/// Whatever goes on beside a Load holds what it uses.
asio::awaitable<Result<void>> insert(std::shared_ptr<Direct> direct, PackedRows rows, Patience::Until until) {
  co_return co_await direct->add(std::move(rows), until);
}
struct Batch {
  std::vector<std::string> columns;
  PackedRows rows;
  bool last{false};
};
asio::awaitable<Result<void>> send(std::shared_ptr<Staging> to, Batch batch, Patience::Until until) {
  co_return co_await to->add(std::move(batch.columns), std::move(batch.rows), batch.last, until);
}
}  // namespace

asio::awaitable<Result<void>> Load::add(PackedRows rows) {
  if (failed_) co_return *failed_;
  auto done = direct_ ? co_await add_direct(std::move(rows)) : co_await stage(std::move(rows));
  if (!done.ok()) failed_ = done.error();
  co_return done;
}

asio::awaitable<Result<void>> Load::settle() {
  auto done = co_await on_its_way_.join();
  if (!done.ok() && !failed_) failed_ = done.error();
  co_return done;
}

asio::awaitable<Result<void>> Load::add_direct(PackedRows rows) {
  label_.counts.total += static_cast<std::int64_t>(rows.rows());
  if (held_) {
    held_->append(rows);
    if (held_->bytes().size() < options_.batch_bytes) co_return Result<void>();
    auto ours = co_await claim_label();
    if (!ours.ok()) co_return std::move(ours).error();
    if (!*ours) co_return label_taken();
    rows = *std::exchange(held_, std::nullopt);
  }
  if (auto before = co_await on_its_way_.join(); !before.ok() || rows.empty()) co_return before;
  co_await on_its_way_.start(insert(direct_, std::move(rows), until_));
  co_return Result<void>();
}

asio::awaitable<Result<void>> Load::stage(PackedRows rows) {
  std::vector<executor::ValueView> row(rows.columns());
  executor::RowReader reader(rows.bytes(), rows.columns());
  while (!reader.done()) {
    const std::string_view rest = reader.rest();
    if (auto read = reader.next(std::span(row)); !read.ok()) co_return read;
    auto range = route(row);
    if (!range.ok() && options_.max_filter_ratio > 0) {
      count_unread(range.error().message);
      continue;
    }
    if (!range.ok()) co_return std::move(range).error();
    ++label_.counts.total;
    const auto known = range->range ? targets_.find(*range->range) : targets_.end();
    auto target = known != targets_.end() ? Result<Target*>(&known->second) : co_await target_in(*range);
    if (!target.ok()) co_return std::move(target).error();
    const std::string_view bytes = rest.substr(0, rest.size() - reader.rest().size());
    (*target)->rows.add_row(bytes);
    waiting_ += bytes.size();
    if (waiting_ >= kWaitingBatches * options_.batch_bytes)
      if (auto flushed = co_await flush(); !flushed.ok()) co_return flushed;
  }
  co_return co_await flush();
}

/// The partition that a row belongs to.
Result<Load::Where> Load::route(std::span<const executor::ValueView> row) {
  if (!router_) return Where{label_.parts.front().range, 0};
  key_.resize(row.size(), executor::Null{});
  if (const std::size_t at = router_->key_position(); at < row.size()) key_[at] = row[at].copy();
  ASSIGN_OR_RETURN(const fragments::RowRouter::Target routed, router_->route(key_));
  return Where{routed.partition ? std::optional(routed.partition->range) : std::nullopt, routed.slot};
}

/// The label names a range before anything is staged there, so that it is swept if the load is left behind.
asio::awaitable<Result<Load::Target*>> Load::target_in(Where where) {
  if (!where.range) {
    auto made = co_await cluster_.add_partition(options_.database, options_.table, where.slot);
    if (!made.ok()) co_return std::move(made).error();
    table_.partitions.push_back({where.slot, made->range});
    where.range = made->range;
  }
  Target& target = targets_[*where.range];
  if (target.staging) co_return &target;
  const bool named = std::ranges::any_of(label_.parts, [&](const Part& part) { return part.range == *where.range; });
  if (!named) {
    label_.parts.push_back({*where.range});
    auto state = co_await labels_.move(label_, {State::kPreparing}, State::kPreparing, until_);
    if (!state.ok()) co_return std::move(state).error();
    if (*state != State::kPreparing) co_return ended_by_others(*state);
  }
  target.rows = PackedRows(options_.columns.size());
  target.staging = std::make_shared<Staging>(
      cluster_, Staging::Load{options_.database, options_.table, label_.txn, options_.max_filter_ratio > 0},
      *where.range);
  co_return &target;
}

PackedRows Load::take_rows(Target& target) {
  waiting_ -= target.rows.bytes().size();
  return std::exchange(target.rows, PackedRows(options_.columns.size()));
}

/// Full batches, or everything when too much waits.
asio::awaitable<Result<void>> Load::flush() {
  const bool all = waiting_ >= kWaitingBatches * options_.batch_bytes;
  const auto goes = [&](const Target& target) {
    return !target.rows.empty() && (all || target.rows.bytes().size() >= options_.batch_bytes);
  };
  if (std::ranges::none_of(targets_, goes, &decltype(targets_)::value_type::second)) co_return Result<void>();
  if (auto before = co_await on_its_way_.join(); !before.ok()) co_return before;
  std::vector<asio::awaitable<Result<void>>> work;
  for (auto& [range, target] : targets_) {
    if (!goes(target)) continue;
    work.push_back(send(target.staging, {options_.columns, take_rows(target), false}, until_));
  }
  co_await on_its_way_.start(run_all(std::move(work)));
  co_return Result<void>();
}

/// What still waits, so that every range has all its rows and keeps them.
asio::awaitable<Result<void>> Load::stage_last() {
  std::vector<asio::awaitable<Result<void>>> work;
  for (auto& [range, target] : targets_) {
    work.push_back(send(target.staging, {options_.columns, take_rows(target), true}, until_));
  }
  co_return co_await run_all(std::move(work));
}

void Load::count_kept() {
  Counts& counts = label_.counts;
  counts.loaded = direct_ ? direct_->kept() : 0;
  for (const auto& [range, target] : targets_) counts.loaded += target.staging->part().rows;
  const std::int64_t unread = counts.filtered;
  counts.filtered = counts.total - counts.loaded;
  if (counts.filtered > unread && first_reason_.empty()) first_reason_ = "a constraint of the table";
}

}  // namespace outlast::loads
