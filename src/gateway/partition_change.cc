// A change of a partitioned table's definition: everywhere or nowhere.
#include "gateway/in_parallel.h"
#include "gateway/partition_tables.h"
#include "gateway/partitioning.h"

namespace outlast::gateway {
namespace asio = boost::asio;
namespace {
constexpr std::size_t kAtOnce = 16;

std::vector<Place> places_of(const meta::PartitionedRecord& record) {
  std::vector<Place> places{std::nullopt};
  for (const meta::PartitionRecord& each : record.partitions)
    if (each.ready) places.emplace_back(each.range);
  return places;
}
}  // namespace

/// The decided change, in whatever range does not have it yet.
asio::awaitable<Result<void>> Partitioning::catch_up(std::string database, Record record) {
  const meta::PendingChange change = *record.pending;
  const std::vector<Place> places = places_of(record);
  auto done =
      co_await InParallel::run(places.size(), kAtOnce, [&, this](std::size_t i) -> asio::awaitable<Result<void>> {
        auto session = co_await enter(database);
        if (!session.ok()) co_return std::move(session).error();
        for (int attempt = 1;; ++attempt) {
          auto begun = co_await begin_change(**session, places[i], record.table, change.number, change.sql);
          if (begun.ok() && (*session)->status() == TxnStatus::kIdle) co_return begun;
          auto ended = co_await end_transaction(**session, std::move(begun));
          if (ended.ok() || attempt == 5 || !is_passing(ended.error().code)) co_return ended;
        }
      });
  auto noted = co_await ask(
      database, record.table,
      [number = change.number, done](const Record& now) {
        return done.ok() ? change_finished(now, number) : change_stuck(now, number, done.error().message);
      },
      done.ok() ? "change_partitioned_table" : "");
  if (!done.ok()) co_return done;
  if (!noted.ok()) co_return std::move(noted).error();
  co_return Result<void>();
}

asio::awaitable<Result<void>> Partitioning::run_everywhere(const Record& record, std::string database,
                                                           std::vector<InChange>& places) {
  for (const Place& place : places_of(record)) places.push_back({place, nullptr});
  const auto begin = [&, this](std::size_t i) -> asio::awaitable<Result<void>> {
    auto session = co_await enter(database);
    if (!session.ok()) co_return std::move(session).error();
    places[i].session = *std::move(session);
    co_return co_await begin_change(*places[i].session, places[i].place, record.table, record.pending->number,
                                    record.pending->sql);
  };
  // The home finds what is wrong with the statement itself; all else in the database waits for it, so it is held for
  // good only when the partitions have done their work.
  if (auto home = co_await begin(0); !home.ok()) co_return home;
  co_await places[0].session->rollback();
  auto ran = co_await InParallel::run(places.size() - 1, kAtOnce, [&](std::size_t i) { return begin(i + 1); });
  if (!ran.ok()) co_return ran;
  co_return co_await begin(0);
}

asio::awaitable<void> Partitioning::roll_back(std::vector<InChange>& places) {
  (void)co_await InParallel::run(places.size(), kAtOnce, [&](std::size_t i) -> asio::awaitable<Result<void>> {
    if (places[i].session && places[i].session->status() != TxnStatus::kIdle) co_await places[i].session->rollback();
    co_return Result<void>();
  });
}

asio::awaitable<Result<void>> Partitioning::change(std::string database, std::string table, TableChange change) {
  meta::PendingChange wanted{.number = 0,
                             .tag = change.tag,
                             .sql = std::move(change.sql),
                             .request = next_request(),
                             .owner = ports_.self,
                             .since_micros = ports_.wall_micros(),
                             .problem = {}};
  auto record = co_await ask(database, table, [wanted](const Record& now) { return change_begun(now, wanted); });
  if (!record.ok()) co_return std::move(record).error();
  const std::uint64_t number = record->pending->number;
  std::vector<InChange> places;
  Result<void> ran = co_await run_everywhere(*record, database, places);
  if (ran.ok()) {
    auto decided = co_await ask(database, table, [number, at = ports_.wall_micros()](const Record& now) {
      return change_decided(now, number, at);
    });
    if (decided.ok()) co_return co_await commit_change(database, *std::move(decided), places);
    ran = std::move(decided).error();
    if (ran.error().code == Errc::kMetaInDoubt)
      ran = Error(Errc::kUnknownOutcome, "whether the change of table \"" + table +
                                             "\" is kept is not known yet: look at SHOW PARTITIONS FROM " + table);
  }
  co_await roll_back(places);
  if (ran.error().code != Errc::kUnknownOutcome)
    (void)co_await ask(database, table, [number](const Record& now) { return change_cancelled(now, number); });
  co_return ran;
}

/// What does not commit now is run once more, and once more by whoever keeps the table, until it has.
asio::awaitable<Result<void>> Partitioning::commit_change(std::string database, Record record,
                                                          std::vector<InChange>& places) {
  (void)co_await InParallel::run(places.size(), kAtOnce, [&](std::size_t i) -> asio::awaitable<Result<void>> {
    if (places[i].session->status() != TxnStatus::kIdle) (void)co_await end_transaction(*places[i].session, {});
    co_return Result<void>();
  });
  places.clear();
  const std::string table = record.table, tag = record.pending->tag;
  auto done = co_await catch_up(database, std::move(record));
  if (done.ok()) co_return done;
  co_return Error(Errc::kUnknownOutcome, tag + " is decided, but not every partition has it yet (" +
                                             done.error().message +
                                             "); it will be finished: look at SHOW PARTITIONS "
                                             "FROM " +
                                             table);
}

}  // namespace outlast::gateway
