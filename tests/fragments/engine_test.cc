// What the engine gives, with fragments lost on their way, is what one SQLite database gives.
#include "compute/engine.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdlib>
#include <random>

#include "compute/testing/fake_ranges.h"
#include "executor/row_batch.h"
#include "sql/translate/functions.h"
#include "sql/translate/translate.h"
#include "tests/fragments/queries.h"
#include "tests/fragments/world.h"

namespace outlast::fragments::test {
namespace {
namespace asio = boost::asio;
constexpr std::int64_t kNow = 947'030'400'000'000;
constexpr int kWorlds = 12, kQueriesOfAWorld = 25;

class SteadyClock final : public Clock {
 public:
  Instant now() const override {
    return Instant(std::chrono::duration_cast<Duration>(std::chrono::steady_clock::now().time_since_epoch()));
  }
  std::int64_t wall_micros() const override { return kNow; }
};

std::string sqlite_text(const std::string& sql) {
  const auto translated = sql::translate(sql);
  OUTLAST_ASSERT(translated.ok() && translated->front().sql.size() == 1);
  return translated->front().sql.front();
}

compute::Plan plan_of(const SelectPlan& plan) {
  compute::Plan out{.database = "d", .now_micros = kNow, .memory_limit = 64 << 20};
  for (const Fragment& from : plan.fragments) {
    compute::Fragment fragment{.name = from.name, .create = rows_table(from), .sql = sqlite_text(from.sql)};
    for (const FragmentColumn& column : from.columns) fragment.columns.push_back(column.name);
    for (const Partition& partition : from.partitions) fragment.ranges.push_back(partition.range);
    out.fragments.push_back(std::move(fragment));
  }
  out.final_sql = sqlite_text(plan.final_sql);
  return out;
}

/// One row a piece, so that a loss can come between any two.
Result<std::vector<std::string>> pieces(const World& world, const gateway::Statement& statement) {
  const Answer answer = world.range(*statement.range).sqlite(statement.sql);
  if (!answer.error.empty()) return Error(Errc::kInternal, answer.error);
  std::vector<std::string> out;
  for (const Row& row : answer.rows) {
    executor::RowWriter writer;
    for (const Value& value : row) writer.value(value);
    out.push_back(writer.take());
  }
  return out;
}

Answer run(compute::Engine& engine, compute::Plan plan) {
  asio::io_context context;
  Answer out;
  const auto all = [&]() -> asio::awaitable<void> {
    const auto query = engine.make(std::move(plan));
    auto rows = co_await query->start({}, 3);
    std::size_t columns = rows.ok() ? rows->columns.size() : 0;
    while (rows.ok()) {
      executor::RowReader reader(rows->bytes, columns);
      while (!reader.done()) {
        Row row;
        if (!reader.next(row).ok()) break;
        out.rows.push_back(std::move(row));
      }
      if (rows->portal == 0) co_return;
      rows = co_await query->fetch({}, 3);
    }
    out.error = rows.error().message;
  };
  asio::co_spawn(context, all(), asio::detached);
  context.run();
  return out;
}

TEST(Engine, GivesWhatOneDatabaseGives) {
  const char* chosen = std::getenv("FRAGMENTS_SEED");
  const std::uint64_t first = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : std::random_device()();
  const SteadyClock clock;
  int compared = 0;
  for (std::uint64_t seed = first; seed < first + (chosen != nullptr ? 1 : kWorlds); ++seed) {
    SCOPED_TRACE("replay: FRAGMENTS_SEED=" + std::to_string(seed));
    SeededRandom random(seed);
    const World world(random);
    compute::test::FakeRanges ranges;
    ranges.answer = [&](const gateway::Statement& statement) { return pieces(world, statement); };
    compute::Engine engine(
        {.open_session = [&] { return ranges.open_session(); },
         .dress = [](sqlite3* db,
                     std::int64_t now) { sql::install_functions(db, {[now] { return now; }, [] { return kNow; }}); }},
        clock, {.threads = 1});
    for (int i = 0; i < kQueriesOfAWorld; ++i) {
      const Query query = random_query(random);
      const Answer plain = world.plain(query.sql);
      const auto plan = world.plan(query.sql);
      if (!plain.error.empty() || !plan.ok() || plan->kind != SelectPlan::Kind::kFragments) continue;
      for (const Fragment& fragment : plan->fragments)
        for (const Partition& partition : fragment.partitions)
          if (random.next() % 8 == 0) ranges.ranges[partition.range].losses = {Error(Errc::kSerialization, "moved")};
      const Answer planned = run(engine, plan_of(*plan));
      EXPECT_EQ(planned.error, "") << query.sql;
      EXPECT_EQ(to_text(comparable(planned.rows, query.ordered)), to_text(comparable(plain.rows, query.ordered)))
          << query.sql;
      ++compared;
    }
  }
  EXPECT_GT(compared, chosen != nullptr ? 0 : kWorlds * kQueriesOfAWorld / 4);
}

}  // namespace
}  // namespace outlast::fragments::test
