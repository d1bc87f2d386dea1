// What can be done with a load by anybody who knows its label.
#include <algorithm>

#include "loads/load.h"

namespace outlast::loads {
namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {
constexpr Duration kTime = 30s;
constexpr std::int64_t kNewsTime = 60'000'000;  ///< Microseconds after which a node knows of new partitions for sure.

Patience::Until from_now(Duration time) {
  return std::chrono::steady_clock::now() + time;
}

/// A range that went with its table or partition: there is nothing to do there.
bool is_gone(const gateway::Cluster& cluster, const std::string& database, const Label& label, RangeId range) {
  for (const gateway::DatabaseRow& row : cluster.databases())
    if (row.name == database && row.range == range) return false;
  if (const auto tables = cluster.partitioned(database); tables != nullptr)
    for (const auto& [name, table] : *tables)
      for (const gateway::PartitionRow& part : table.partitions)
        if (part.range == range) return false;
  return cluster.wall_micros() >= label.changed + kNewsTime;
}

using StepOf = asio::awaitable<Result<void>> (Staging::*)(Patience::Until);

/// `step` in all ranges of the load, side by side.
asio::awaitable<Result<void>> everywhere(gateway::Cluster& cluster, std::string database, Label label, StepOf step,
                                         Patience::Until until, Stagings own = {}) {
  std::vector<asio::awaitable<Result<void>>> work;
  for (const Part& part : label.parts) {
    if (is_gone(cluster, database, label, part.range)) continue;
    std::shared_ptr<Staging>& staging = own[part.range];
    if (!staging)
      staging = std::make_shared<Staging>(cluster, Staging::Load{database, label.table, label.txn, false}, part.range);
    work.push_back((staging.get()->*step)(until));
  }
  co_return co_await run_all(std::move(work));
}

asio::awaitable<Result<Label>> known(Labels* labels, std::string label) {
  auto found = co_await labels->find(label, from_now(kTime));
  if (!found.ok()) co_return std::move(found).error();
  if (!found->has_value()) co_return Error(Errc::kNotFound, "there is no load with label \"" + label + "\"");
  co_return **std::move(found);
}
}  // namespace

asio::awaitable<Result<Label>> apply_committed(gateway::Cluster& cluster, std::string database, Label label,
                                               Patience::Until until, Stagings own) {
  Labels labels(cluster, database);
  auto applied = co_await everywhere(cluster, database, label, &Staging::apply, until, std::move(own));
  if (!applied.ok()) {
    label.error = applied.error().message;
    (void)co_await labels.set_error(label.txn, label.error, from_now(kTime / 10));
    co_return label;
  }
  label.error.clear();
  auto state = co_await labels.move(label, {State::kCommitted, State::kDone}, State::kDone, from_now(kTime));
  if (state.ok()) label.state = *state;
  co_return label;  // without an answer: the keeper finds out that all is done
}

namespace {
using Note = asio::awaitable<Result<void>> (Labels::*)(std::int64_t, Patience::Until);

/// `step` in all ranges, then the label notes that it is done.
asio::awaitable<Result<void>> clean_up(gateway::Cluster& cluster, std::string database, Label label, StepOf step,
                                       Note note, Patience::Until until) {
  if (auto cleaned = co_await everywhere(cluster, database, label, step, until); !cleaned.ok()) co_return cleaned;
  Labels labels(cluster, database);
  co_return co_await (labels.*note)(label.txn, until);
}
}  // namespace

asio::awaitable<Result<void>> sweep_aborted(gateway::Cluster& cluster, std::string database, Label label,
                                            Patience::Until until) {
  return clean_up(cluster, std::move(database), std::move(label), &Staging::sweep, &Labels::set_swept, until);
}

asio::awaitable<Result<void>> forget_ended(gateway::Cluster& cluster, std::string database, Label label,
                                           Patience::Until until) {
  return clean_up(cluster, std::move(database), std::move(label), &Staging::forget, &Labels::remove, until);
}

asio::awaitable<Result<std::optional<Label>>> find_label(gateway::Cluster& cluster, std::string database,
                                                         std::string label) {
  Labels labels(cluster, std::move(database));
  co_return co_await labels.find(std::move(label), from_now(kTime));
}

asio::awaitable<Result<Label>> commit_label(gateway::Cluster& cluster, std::string database, std::string label) {
  Labels labels(cluster, database);
  auto found = co_await known(&labels, std::move(label));
  if (!found.ok()) co_return found;
  if (found->state == State::kPreparing || found->state == State::kAborted)
    co_return Error(Errc::kInvalidState, "label \"" + found->label + "\" is " + std::string(to_string(found->state)) +
                                             ": only a prepared load can be committed");
  if (found->state == State::kDone) co_return found;
  found->owner = cluster.process();
  auto state = co_await labels.move(*found, {State::kPrepared}, State::kCommitted, from_now(kTime));
  if (!state.ok()) co_return unknown_outcome();
  found->state = *state;
  if (*state == State::kDone) co_return found;
  if (*state != State::kCommitted)
    co_return Error(Errc::kInvalidState,
                    "label \"" + found->label + "\" is " + std::string(to_string(*state)) + " by now; load it again");
  co_return co_await apply_committed(cluster, database, *std::move(found), from_now(kTime));
}

asio::awaitable<Result<Label>> abort_label(gateway::Cluster& cluster, std::string database, std::string label,
                                           std::string reason) {
  Labels labels(cluster, database);
  auto found = co_await known(&labels, std::move(label));
  if (!found.ok()) co_return found;
  found->error = std::move(reason);
  auto state = co_await labels.move(*found, {State::kPreparing, State::kPrepared, State::kAborted}, State::kAborted,
                                    from_now(kTime));
  if (!state.ok()) co_return std::move(state).error();
  found->state = *state;
  if (*state != State::kAborted)
    co_return Error(Errc::kInvalidState, "label \"" + found->label + "\" is " + std::string(to_string(*state)) +
                                             " already: what is committed cannot be taken back");
  if (!found->parts.empty()) (void)co_await sweep_aborted(cluster, database, *found, from_now(kTime));
  co_return found;
}

}  // namespace outlast::loads
