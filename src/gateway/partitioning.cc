#include "gateway/partitioning.h"

#include <algorithm>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "gateway/in_parallel.h"
#include "gateway/partition_tables.h"

namespace outlast::gateway {
namespace asio = boost::asio;
namespace {
constexpr std::size_t kAtOnce = 16;  ///< Ranges spoken to at a time.
constexpr int kLooks = 3000;         ///< Of 10 ms: what others finish within that time is waited for.

asio::awaitable<void> pause(Duration how_long) {
  asio::steady_timer timer(co_await asio::this_coro::executor);
  timer.expires_after(how_long);
  boost::system::error_code ignored;
  co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
}

TableAsMade as_made(const meta::PartitionedRecord& record, std::vector<std::string> sql) {
  return {.table = record.table, .request = record.request, .applied = record.applied, .sql = std::move(sql)};
}

Error being_finished(Error why, const std::string& table) {
  why.hint = "It will be finished without you: look at SHOW PARTITIONS FROM " + table + ".";
  return why;
}
}  // namespace

asio::awaitable<Result<Partitioning::Record>> Partitioning::ask(std::string database, std::string table,
                                                                PartitionPorts::Change change, std::string event) {
  co_return co_await await_callback<Record>([&, this](Callback<Record> done) {
    ports_.change(database, table, std::move(change), std::move(event), std::move(done));
  });
}

asio::awaitable<Result<std::unique_ptr<Session>>> Partitioning::enter(std::string database) {
  std::unique_ptr<Session> session = open_();
  if (auto entered = co_await session->use_database(std::move(database)); !entered.ok())
    co_return std::move(entered).error();
  session->limits().statement_timeout = Duration(0);
  session->limits().idle_in_transaction_timeout = Duration(0);
  co_return session;
}

/// The mirrors follow within milliseconds.
asio::awaitable<Result<void>> Partitioning::wait_known(std::string database, std::string table,
                                                       std::optional<std::int64_t> slot) {
  for (int look = 0; look < kLooks; ++look) {
    if (const auto known = ports_.tables(database)) {
      const auto it = known->find(table);
      if (it != known->end() && (!slot || std::ranges::find(it->second.partitions, *slot, &PartitionRow::slot) !=
                                              it->second.partitions.end()))
        co_return Result<void>();
    }
    co_await pause(std::chrono::milliseconds(look < 100 ? 2 : 10));
  }
  co_return Error(Errc::kNotReady, "table \"" + table + "\" is there, but this node has not heard of it; try again");
}

/// Partitions first: once the home has it, it is complete.
asio::awaitable<Result<void>> Partitioning::install_everywhere(std::string database, Record record,
                                                               std::vector<std::string> sql) {
  const auto install = [&, this](Place place) -> asio::awaitable<Result<void>> {
    auto session = co_await enter(database);
    if (!session.ok()) co_return std::move(session).error();
    co_return co_await install_table(**session, place, as_made(record, sql));
  };
  auto done = co_await InParallel::run(record.partitions.size(), kAtOnce,
                                       [&](std::size_t i) { return install(record.partitions[i].range); });
  if (!done.ok()) co_return done;
  co_return co_await install(std::nullopt);
}

std::string Partitioning::next_request() {
  return ports_.self.to_string() + "/" + std::to_string(requests_.fetch_add(1, std::memory_order_relaxed));
}

asio::awaitable<Result<void>> Partitioning::create(std::string database, NewPartitionedTable table) {
  const std::string request = next_request();
  auto record = co_await await_callback<Record>([&, this](Callback<Record> done) {
    ports_.create(database, table.name, table.scheme, table.slots, request, std::move(done));
  });
  if (!record.ok()) {  // what it left, if anything, is of no use
    Record left;
    left.table = table.name, left.request = request;
    (void)co_await drop_now(database, std::move(left));
    co_return std::move(record).error();
  }
  Result<void> done = co_await install_everywhere(database, *record, table.sql);
  if (done.ok()) {
    auto ready = co_await ask(
        database, table.name, [request = record->request](const Record& now) { return now_ready(now, request); },
        "create_partitioned_table");
    if (ready.ok()) co_return co_await wait_known(database, table.name, {});
    if (ready.error().code == Errc::kMetaInDoubt)
      co_return Error(Errc::kUnknownOutcome, "whether the table was created is not known: " + ready.error().message);
    done = std::move(ready).error();
  }
  (void)co_await drop_now(database, *record);
  co_return done;
}

asio::awaitable<Result<void>> Partitioning::drop_now(std::string database, Record record) {
  const std::string request = record.request;
  auto decided =
      co_await ask(database, record.table, [request, table = record.table](const Record& now) -> Result<Record> {
        if (now.request == request) return now_dropping(now);
        return Error(Errc::kUndefinedTable, "relation \"" + table + "\" does not exist");
      });
  if (!decided.ok()) co_return std::move(decided).error();
  auto dropped = co_await await_callback<void>(
      [&, this](Callback<void> done) { ports_.drop_ranges(database, record.table, std::move(done)); });
  if (dropped.ok()) {
    auto session = co_await enter(database);
    dropped = session.ok() ? co_await drop_home(**session, record.table, request) : std::move(session).error();
  }
  if (dropped.ok())
    dropped = co_await await_callback<void>(
        [&, this](Callback<void> done) { ports_.forget(database, record.table, std::move(done)); });
  if (!dropped.ok()) co_return being_finished(std::move(dropped).error(), record.table);
  co_return dropped;
}

asio::awaitable<Result<void>> Partitioning::drop(std::string database, std::string table) {
  auto now = co_await ask(database, table, [](const Record& as_is) -> Result<Record> { return as_is; });
  if (!now.ok()) co_return std::move(now).error();
  auto dropped = co_await drop_now(database, *now);
  if (!dropped.ok()) co_return dropped;
  for (int look = 0; look < kLooks; ++look) {
    const auto known = ports_.tables(database);
    if (!known || !known->contains(table)) break;
    co_await pause(std::chrono::milliseconds(2));
  }
  co_return dropped;
}

/// Until the partition has the table as the record says that it is; changes that are under way are waited for.
asio::awaitable<Result<void>> Partitioning::install_added(std::string database, Record record,
                                                          meta::PartitionRecord added) {
  auto session = co_await enter(database);
  if (!session.ok()) co_return std::move(session).error();
  for (int look = 0;; ++look) {
    auto home = co_await read_home(**session, record.table);
    if (!home.ok()) co_return std::move(home).error();
    if (home->request != record.request)
      co_return Error(Errc::kSerialization, "table \"" + record.table + "\" was created anew; run the statement again");
    const std::uint64_t applied = home->applied;
    auto installed = co_await install_table(**session, added.range, *std::move(home));
    if (!installed.ok()) co_return installed;
    auto ready = co_await ask(database, record.table,
                              [added, applied](const Record& now) { return partition_ready(now, added, applied); });
    if (ready.ok()) co_return Result<void>();
    if (ready.error().code != Errc::kObjectInUse || look == kLooks) co_return std::move(ready).error();
    co_await pause(std::chrono::milliseconds(10));
  }
}

asio::awaitable<Result<PartitionRow>> Partitioning::add(std::string database, std::string table, std::int64_t slot) {
  auto record = co_await await_callback<Record>(
      [&, this](Callback<Record> done) { ports_.add(database, table, slot, std::move(done)); });
  if (!record.ok()) co_return std::move(record).error();
  const meta::PartitionRecord* added = record->find(slot);
  if (added == nullptr) co_return Error(Errc::kInternal, "a partition that was added is not in its table's record");
  const PartitionRow row{slot, added->range};
  if (!added->ready)
    if (auto installed = co_await install_added(database, *record, *added); !installed.ok())
      co_return std::move(installed).error();
  if (auto known = co_await wait_known(database, table, slot); !known.ok()) co_return std::move(known).error();
  co_return row;
}

asio::awaitable<Result<void>> Partitioning::finish(std::string database, Record record) {
  if (record.state != meta::PartitionedState::kReady) co_return co_await drop_now(database, std::move(record));
  if (!record.pending) co_return Result<void>();
  if (record.pending->decided) co_return co_await catch_up(database, std::move(record));
  const std::uint64_t number = record.pending->number;
  auto cancelled =
      co_await ask(database, record.table, [number](const Record& now) { return change_cancelled(now, number); });
  if (!cancelled.ok()) co_return std::move(cancelled).error();
  co_return Result<void>();
}

}  // namespace outlast::gateway
