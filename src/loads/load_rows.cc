// Rows of a load on their way to where they belong.
#include <algorithm>
#include <utility>

#include "loads/load.h"

namespace outlast::loads {
namespace asio = boost::asio;

namespace {
constexpr std::size_t kWaitingBatches = 8;  ///< In memory at most, for all partitions together.

/// Whatever goes on beside a Load holds what it uses.
asio::awaitable<Result<void>> insert(std::shared_ptr<Direct> direct, Rows rows, Patience::Until until) {
  co_return co_await direct->add(std::move(rows), until);
}
struct Batch {
  std::vector<std::string> columns;
  Rows rows;
  bool last{false};
};
asio::awaitable<Result<void>> send(std::shared_ptr<Staging> to, Batch batch, Patience::Until until) {
  co_return co_await to->add(std::move(batch.columns), std::move(batch.rows), batch.last, until);
}
}  // namespace

asio::awaitable<Result<void>> Load::add(Rows rows) {
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

asio::awaitable<Result<void>> Load::add_direct(Rows rows) {
  label_.counts.total += static_cast<std::int64_t>(rows.size());
  if (auto before = co_await on_its_way_.join(); !before.ok() || rows.empty()) co_return before;
  co_await on_its_way_.start(insert(direct_, std::move(rows), until_));
  co_return Result<void>();
}

asio::awaitable<Result<void>> Load::stage(Rows rows) {
  for (Row& row : rows)
    if (auto taken = co_await take(std::move(row)); !taken.ok()) co_return taken;
  co_return co_await flush();
}

/// One row to the partition that it belongs to.
asio::awaitable<Result<void>> Load::take(Row row) {
  RangeId range;
  if (router_) {
    auto routed = router_->route(row);
    if (!routed.ok() && options_.max_filter_ratio > 0) {
      count_unread(routed.error().message);
      co_return Result<void>();
    }
    if (!routed.ok()) co_return std::move(routed).error();
    auto found = co_await range_of(*routed);
    if (!found.ok()) co_return std::move(found).error();
    range = *found;
  } else {
    range = label_.parts.front().range;
  }
  ++label_.counts.total;
  auto target = co_await target_in(range);
  if (!target.ok()) co_return std::move(target).error();
  const std::size_t bytes = size_of(row);
  (*target)->bytes += bytes;
  waiting_ += bytes;
  (*target)->rows.push_back(std::move(row));
  co_return Result<void>();
}

asio::awaitable<Result<RangeId>> Load::range_of(fragments::RowRouter::Target routed) {
  if (routed.partition) co_return routed.partition->range;
  auto made = co_await cluster_.add_partition(options_.database, options_.table, routed.slot);
  if (!made.ok()) co_return std::move(made).error();
  table_.partitions.push_back({routed.slot, made->range});
  co_return made->range;
}

/// The label names a range before anything is staged there, so that it is swept if the load is left behind.
asio::awaitable<Result<Load::Target*>> Load::target_in(RangeId range) {
  Target& target = targets_[range];
  if (target.staging) co_return &target;
  const bool named = std::ranges::any_of(label_.parts, [&](const Part& part) { return part.range == range; });
  if (!named) {
    label_.parts.push_back({range});
    auto state = co_await labels_.move(label_, {State::kPreparing}, State::kPreparing, until_);
    if (!state.ok()) co_return std::move(state).error();
    if (*state != State::kPreparing) co_return ended_by_others(*state);
  }
  target.staging = std::make_shared<Staging>(
      cluster_, Staging::Load{options_.database, options_.table, label_.txn, options_.max_filter_ratio > 0}, range);
  co_return &target;
}

/// Full batches, or everything when too much waits.
asio::awaitable<Result<void>> Load::flush() {
  const bool all = waiting_ >= kWaitingBatches * options_.batch_bytes;
  const auto goes = [&](const Target& target) {
    return !target.rows.empty() && (all || target.bytes >= options_.batch_bytes);
  };
  if (std::ranges::none_of(targets_, goes, &decltype(targets_)::value_type::second)) co_return Result<void>();
  if (auto before = co_await on_its_way_.join(); !before.ok()) co_return before;
  std::vector<asio::awaitable<Result<void>>> work;
  for (auto& [range, target] : targets_) {
    if (!goes(target)) continue;
    waiting_ -= std::exchange(target.bytes, 0);
    work.push_back(send(target.staging, {options_.columns, std::exchange(target.rows, {}), false}, until_));
  }
  co_await on_its_way_.start(run_all(std::move(work)));
  co_return Result<void>();
}

/// What still waits, so that every range has all its rows and keeps them.
asio::awaitable<Result<void>> Load::stage_last() {
  std::vector<asio::awaitable<Result<void>>> work;
  for (auto& [range, target] : targets_) {
    waiting_ -= std::exchange(target.bytes, 0);
    work.push_back(send(target.staging, {options_.columns, std::exchange(target.rows, {}), true}, until_));
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
