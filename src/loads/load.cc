#include "loads/load.h"

#include <algorithm>
#include <random>

#include "loads/shape.h"

namespace outlast::loads {
namespace asio = boost::asio;
using executor::Value;
using namespace std::chrono_literals;

namespace {
constexpr Duration kAbortTime = 5s, kApplyTime = 30s;

std::int64_t new_number() {
  std::random_device chance;
  const auto high = static_cast<std::uint64_t>(chance()) << 32U;
  return static_cast<std::int64_t>((high | chance()) >> 12U) + 1;  // JSON's numbers are exact up to 53 bits
}

Patience::Until from_now(Duration time) {
  return std::chrono::steady_clock::now() + time;
}

Result<RangeId> home_of(const gateway::Cluster& cluster, const std::string& database) {
  for (const gateway::DatabaseRow& row : cluster.databases())
    if (row.name == database) return row.range;
  return Error(Errc::kUndefinedDatabase, "database \"" + database + "\" does not exist");
}

}  // namespace

Error ended_by_others(State state) {
  return {Errc::kInvalidState, "the load is " + std::string(to_string(state)) +
                                   " already: its time was over, or somebody ended it; load it again"};
}

Load::Load(gateway::Cluster& cluster, LoadOptions options)
    : cluster_(cluster),
      options_(std::move(options)),
      labels_(cluster, options_.database),
      until_(from_now(options_.timeout)) {
  label_.txn = new_number();
  label_.label = options_.label.empty() ? "load-" + std::to_string(label_.txn) : options_.label;
  label_.table = options_.table;
  label_.owner = cluster.process();
  label_.created = label_.changed = cluster.wall_micros();
  label_.expires = label_.created + options_.timeout / 1us;
}

asio::awaitable<Result<Opened>> Load::open(gateway::Cluster& cluster, LoadOptions options) {
  std::unique_ptr<Load> load(new Load(cluster, std::move(options)));
  if (auto looked = co_await load->look_at_table(); !looked.ok()) co_return std::move(looked).error();
  auto ours = load->direct_ ? co_await load->look_at_label() : co_await load->claim_label();
  if (!ours.ok()) co_return std::move(ours).error();
  if (!*ours) co_return Opened{nullptr, std::move(load->taken_by_)};
  co_return Opened{std::move(load), std::nullopt};
}

/// Columns, partitions, and by which of the two ways rows go.
asio::awaitable<Result<void>> Load::look_at_table() {
  auto session = co_await labels_.session();
  if (!session.ok()) co_return std::move(session).error();
  auto columns = co_await read_columns(**session, options_.table, std::nullopt);
  if (!columns.ok()) co_return std::move(columns).error();
  table_.name = options_.table;
  for (const Shape::Column& column : *columns)
    if (!column.generated) table_.columns.push_back({column.name, column.declared});
  if (options_.columns.empty())
    for (const fragments::Column& column : table_.columns) options_.columns.push_back(column.name);
  for (const std::string& name : options_.columns)
    if (table_.column(name) == nullptr)
      co_return Error(Errc::kUndefinedColumn,
                      "column \"" + name + "\" of relation \"" + options_.table + "\" does not exist");
  const auto tables = cluster_.partitioned(options_.database);
  const auto found = tables == nullptr ? gateway::PartitionedTables::const_iterator() : tables->find(options_.table);
  if (tables == nullptr || found == tables->end()) {
    if (!options_.two_steps) {
      direct_ = std::make_shared<Direct>(cluster_, options_.database, options_.table, options_.columns,
                                         options_.max_filter_ratio > 0);
      co_return Result<void>();
    }
    auto home = home_of(cluster_, options_.database);
    if (!home.ok()) co_return std::move(home).error();
    auto shape = co_await read_shape(**session, options_.table, std::nullopt);
    if (!shape.ok()) co_return std::move(shape).error();
    if (auto text = staging_sql(*shape); !text.ok()) co_return std::move(text).error();
    label_.parts.push_back({*home});
    co_return Result<void>();
  }
  auto scheme = fragments::decode_scheme(found->second.scheme);
  if (!scheme.ok()) co_return std::move(scheme).error();
  table_.scheme = *std::move(scheme);
  for (const gateway::PartitionRow& part : found->second.partitions) {
    table_.partitions.push_back({part.slot, part.range});
    if (table_.scheme->kind == fragments::Scheme::Kind::kHash) label_.parts.push_back({part.range});
  }
  auto router = fragments::RowRouter::make(table_, options_.columns);
  if (!router.ok()) co_return std::move(router).error();
  router_.emplace(*std::move(router));
  co_return Result<void>();
}

Error Load::label_taken() const {
  return {Errc::kInvalidState, "label \"" + label_.label + "\" was taken by another load meanwhile"};
}

/// A load that goes by one transaction brings its label with it; only one that takes long claims it before, so that
/// others see it. False: it is taken.
asio::awaitable<Result<bool>> Load::look_at_label() {
  held_.emplace(options_.columns.size());
  if (options_.label.empty()) co_return true;
  auto existing = co_await labels_.find(label_.label, until_);
  if (!existing.ok()) co_return std::move(existing).error();
  if (!existing->has_value() || (*existing)->state == State::kAborted) co_return true;
  auto ours = co_await claim_label();
  if (ours.ok() && *ours) held_.reset();
  co_return ours;
}

/// False: it is taken.
asio::awaitable<Result<bool>> Load::claim_label() {
  for (int attempt = 0; attempt < 5; ++attempt) {
    auto ours = co_await labels_.insert(label_, until_);
    if (!ours.ok() || *ours) co_return ours;
    auto existing = co_await labels_.find(label_.label, until_);
    if (!existing.ok()) co_return std::move(existing).error();
    if (!existing->has_value()) continue;
    Label& other = **existing;
    const Reuse reuse = judge_reuse(other, {cluster_.wall_micros(), cluster_.process_gone(other.owner)});
    if (reuse == Reuse::kFree) continue;
    if (reuse != Reuse::kAbortFirst) {
      taken_by_ = std::move(other);
      co_return false;
    }
    other.error = "its owner left it";
    auto state = co_await labels_.move(other, {State::kPreparing, State::kPrepared}, State::kAborted, until_);
    if (!state.ok()) co_return std::move(state).error();
    if (*state != State::kAborted) continue;
    if (auto swept = co_await sweep_aborted(cluster_, options_.database, other, until_); !swept.ok())
      co_return std::move(swept).error();
  }
  co_return Error(Errc::kLockTimeout, "label \"" + label_.label + "\" changes hands all the time; try again");
}

void Load::count_unread(const std::string& reason) {
  ++label_.counts.total;
  ++label_.counts.filtered;
  if (first_reason_.empty()) first_reason_ = reason;
}

asio::awaitable<Result<void>> Load::prepare() {
  if (failed_) co_return *failed_;
  auto done = co_await on_its_way_.join();
  if (done.ok() && held_ && !held_->empty()) done = co_await direct_->add(std::move(*held_), until_);
  if (done.ok() && !direct_) done = co_await stage_last();
  if (done.ok()) {
    count_kept();
    done = check_filtered(label_.counts, options_.max_filter_ratio, first_reason_);
  }
  if (done.ok() && !direct_) done = co_await mark_prepared();
  if (!done.ok()) failed_ = done.error();
  co_return done;
}

/// A load of one request goes on to its commit point at once; the label need not know of the moment between.
asio::awaitable<Result<void>> Load::mark_prepared() {
  label_.parts.clear();
  for (auto& [range, target] : targets_) label_.parts.push_back(target.staging->part());
  if (!options_.two_steps) co_return Result<void>();
  label_.expires = cluster_.wall_micros() + options_.timeout / 1us;
  label_.owner.clear();
  auto state = co_await labels_.move(label_, {State::kPreparing, State::kPrepared}, State::kPrepared, until_);
  if (!state.ok()) co_return std::move(state).error();
  if (*state != State::kPrepared) co_return ended_by_others(*state);
  label_.state = State::kPrepared;
  co_return Result<void>();
}

asio::awaitable<Result<Label>> Load::commit() {
  if (failed_) co_return *failed_;
  if (!direct_) {
    auto until = std::max(until_, from_now(kAbortTime));
    label_.owner = cluster_.process();
    auto state = co_await labels_.move(label_, {State::kPreparing, State::kPrepared}, State::kCommitted, until);
    if (!state.ok()) co_return unknown_outcome();
    if (*state != State::kCommitted && *state != State::kDone) co_return ended_by_others(*state);
    label_.state = *state;
    Stagings own;
    for (const auto& [range, target] : targets_) own[range] = target.staging;
    co_return co_await apply_committed(cluster_, options_.database, label_, from_now(kApplyTime), std::move(own));
  }
  co_return co_await commit_direct();
}

asio::awaitable<Result<Label>> Load::commit_direct() {
  const auto until = std::max(until_, from_now(kAbortTime));
  auto state = co_await direct_->commit(label_, !held_, &labels_, until);
  if (!state.ok()) co_return std::move(state).error();
  if (*state == State::kPreparing) {
    auto other = co_await labels_.find(label_.label, until);
    if (!other.ok()) co_return std::move(other).error();
    if (!other->has_value() || (*other)->state == State::kAborted)
      co_return Error(Errc::kLockTimeout, label_taken().message + "; it is free again");
    taken_by_ = **std::move(other);
    co_return label_taken();
  }
  if (*state != State::kDone) co_return ended_by_others(*state);
  count_kept();
  label_.state = State::kDone;
  co_return label_;
}

asio::awaitable<Result<Label>> Load::finish() {
  if (auto prepared = co_await prepare(); !prepared.ok()) co_return std::move(prepared).error();
  co_return co_await commit();
}

asio::awaitable<void> Load::abort(std::string reason) {
  failed_ = Error(Errc::kInvalidState, "the load was aborted");
  (void)co_await on_its_way_.join();
  if (direct_) co_await direct_->abort();
  label_.error = std::move(reason);
  if (held_) {  // for those who ask
    label_.state = State::kAborted;
    label_.changed = cluster_.wall_micros();
    (void)co_await labels_.insert(label_, from_now(kAbortTime));
    co_return;
  }
  auto state =
      co_await labels_.move(label_, {State::kPreparing, State::kPrepared}, State::kAborted, from_now(kAbortTime));
  if (!state.ok() || *state != State::kAborted) co_return;  // the keeper's
  label_.state = State::kAborted;
  if (!label_.parts.empty()) (void)co_await sweep_aborted(cluster_, options_.database, label_, from_now(kAbortTime));
}

}  // namespace outlast::loads
