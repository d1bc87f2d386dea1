#include "server/table_sink.h"

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>

#include "fragments/scheme.h"
#include "sql/session/statement_runner.h"
#include "sql/types.h"

namespace outlast::server {
namespace asio = boost::asio;
using executor::Value;

namespace {
constexpr std::size_t kPortionBytes = 1U << 20;  ///< Rows go in portions of about this size.
constexpr std::uint64_t kForgetEvery =
    251;  ///< Chunks, between two looks for ids that are old enough; a prime, so that each partition has its turn.
constexpr std::string_view kChunks = "ingest_chunks";
constexpr std::string_view kMakeChunks =
    "CREATE TABLE IF NOT EXISTS ingest_chunks (id text PRIMARY KEY, stored bigint NOT NULL)";
constexpr std::array<std::string_view, 5> kColumns{"time", "host", "tag", "fields", "error"};

std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) out.append(c == '"' ? 2 : 1, c);
  return out + "\"";
}

/// time, host, tag, fields, error.
TableSink::Row row_of(ingest::Record record) {
  std::string fields;
  const bool parsed = record.error.empty();
  if (parsed) {
    ingest::append_json(fields, record.fields);
  } else {
    ingest::append_raw(fields += '{', record);
    fields += '}';
  }
  TableSink::Row row;
  row.reserve(5);
  row.emplace_back(sql::format_timestamp(record.time_micros));
  row.emplace_back(ingest::as_text(std::move(record.host)));
  row.emplace_back(ingest::as_text(std::move(record.tag)));
  row.emplace_back(std::move(fields));
  row.push_back(parsed ? Value() : Value(ingest::as_text(std::move(record.error))));
  return row;
}

gateway::Statement statement(std::optional<RangeId> range, std::string sql, std::vector<Value> values = {},
                             std::string tag = "INSERT") {
  gateway::Statement out;
  out.range = range;
  out.sql = std::move(sql);
  if (!values.empty()) out.params.push_back(std::move(values));
  out.tag = std::move(tag);
  return out;
}
}  // namespace

TableSink::TableSink(TableSinkOptions options, gateway::Cluster& cluster, const ingest::Decoder& decoder,
                     asio::any_io_executor executor)
    : options_(std::move(options)), cluster_(cluster), decoder_(decoder), executor_(std::move(executor)) {}

void TableSink::write(std::shared_ptr<const ingest::Chunk> chunk, Callback<void> done) {
  if (stopped_) return done(Error(Errc::kShuttingDown, "the sink is closed"));
  auto portions = portions_of(*chunk);  // on the flush thread: SQL clients wait for the executor's
  if (!portions.ok()) return done(std::move(portions).error());
  asio::co_spawn(asio::make_strand(executor_), store(shared_from_this(), std::move(chunk), *std::move(portions)),
                 [done = std::move(done)](const std::exception_ptr& failed, Result<void> stored) mutable {
                   if (failed) return done(Error(Errc::kInternal, "storing a chunk failed"));
                   done(std::move(stored));
                 });
}

asio::awaitable<Result<void>> TableSink::store(std::shared_ptr<TableSink> self,
                                               std::shared_ptr<const ingest::Chunk> chunk, Portions portions) {
  const auto session = self->cluster_.open_session();
  auto used = co_await session->use_database(self->options_.database);
  if (!used.ok()) co_return used;
  if (!self->made_) {
    auto made = co_await self->make_tables(*session);
    if (!made.ok()) co_return made;
    self->made_ = true;
  }
  const auto tables = self->cluster_.partitioned(self->options_.database);
  const bool parts = tables && tables->contains(self->options_.table);
  auto storing = parts ? self->store_parts(*session, tables->at(self->options_.table), *chunk, std::move(portions))
                       : self->store_in(*session, std::nullopt, *chunk, std::move(portions));
  auto stored = co_await std::move(storing);
  if (!stored.ok() && session->status() != gateway::TxnStatus::kIdle) co_await session->rollback();
  if (!stored.ok()) self->made_ = false;  // the table may have been dropped
  co_return stored;
}

/// The portions of each partition, by slot.
Result<std::map<std::int64_t, TableSink::Portions>> TableSink::by_slot(const gateway::PartitionedTable& table,
                                                                       Portions portions) {
  ASSIGN_OR_RETURN(const fragments::Scheme scheme, fragments::decode_scheme(table.scheme));
  const auto column = std::ranges::find(kColumns, scheme.column);
  if (column == kColumns.end())
    return Error(Errc::kUndefinedColumn, "table \"" + table.name + "\" is partitioned by column \"" + scheme.column +
                                             "\", which records do not have; partition it by time, host or tag");
  const auto key = static_cast<std::size_t>(column - kColumns.begin());
  std::map<std::int64_t, Portions> out;
  for (std::vector<Row>& rows : portions) {
    std::map<std::int64_t, std::vector<Row>> split;
    for (Row& row : rows) {
      ASSIGN_OR_RETURN(const fragments::Slot slot, scheme.slot_of(row[key]));
      split[slot].push_back(std::move(row));
    }
    for (auto& [slot, part] : split) out[slot].push_back(std::move(part));
  }
  return out;
}

asio::awaitable<Result<void>> TableSink::store_parts(gateway::Session& session, gateway::PartitionedTable table,
                                                     const ingest::Chunk& chunk, Portions portions) {
  auto parts = by_slot(table, std::move(portions));
  if (!parts.ok()) co_return std::move(parts).error();
  for (auto& [slot, part] : *parts) {
    const auto there = std::ranges::find(table.partitions, slot, &gateway::PartitionRow::slot);
    std::optional<RangeId> range;
    if (there != table.partitions.end()) range = there->range;
    if (!range) {
      auto added = co_await cluster_.add_partition(options_.database, table.name, slot);
      if (!added.ok()) co_return std::move(added).error();
      range = added->range;
    }
    auto stored = co_await store_in(session, range, chunk, std::move(part));
    if (!stored.ok()) co_return stored;
  }
  co_return Result<void>();
}

asio::awaitable<Result<void>> TableSink::store_in(gateway::Session& session, std::optional<RangeId> range,
                                                  const ingest::Chunk& chunk, Portions portions) {
  auto begun = session.begin({.read_only = false, .immediate = true});
  if (!begun.ok()) co_return begun;
  auto fresh = co_await claim(session, range, chunk);
  if (!fresh.ok()) co_return std::move(fresh).error();
  if (!*fresh) {
    co_await session.rollback();
    co_return Result<void>();
  }
  auto inserted = co_await insert(session, range, std::move(portions));
  if (!inserted.ok()) co_return inserted;
  auto committed = co_await session.commit();
  if (!committed.ok()) co_return std::move(committed).error();
  if (!*committed) co_return Error(Errc::kTransactionLost, "the transaction of a chunk was rolled back");
  co_return Result<void>();
}

asio::awaitable<Result<void>> TableSink::make_tables(gateway::Session& session) {
  const std::string statements[] = {std::string(kMakeChunks),
                                    "CREATE TABLE IF NOT EXISTS " + quoted(options_.table) +
                                        " (time timestamptz, host text, tag text, fields json, error text)"};
  for (const std::string& text : statements) {
    auto translated = sql::translate_one(text, {}, {});
    if (!translated.ok()) co_return std::move(translated).error();
    for (const std::string& part : translated->sql) {
      auto ran = co_await session.run(statement({}, part, {}, "CREATE TABLE"));
      if (!ran.ok()) co_return std::move(ran).error();
    }
  }
  co_return Result<void>();
}

/// Chunks that were forwarded have one id for all tables that they go to; ours have one for each.
std::string TableSink::claim_key(const ingest::Chunk& chunk) const {
  return chunk.id().to_string() + (chunk.facts().origin ? " " + options_.table : "");
}

/// True: this chunk was not stored yet, and its id is now in our transaction.
asio::awaitable<Result<bool>> TableSink::claim(gateway::Session& session, std::optional<RangeId> range,
                                               const ingest::Chunk& chunk) {
  if (range) {  // which may be new; its database's own has the table already
    auto translated = sql::translate_one(kMakeChunks, {}, {});
    if (!translated.ok()) co_return std::move(translated).error();
    for (const std::string& part : translated->sql) {
      auto made = co_await session.run(statement(range, part, {}, "CREATE TABLE"));
      if (!made.ok()) co_return std::move(made).error();
    }
  }
  const std::int64_t now = cluster_.wall_micros();
  if (stored_.fetch_add(1) % kForgetEvery == 0) {
    const std::int64_t before = now - options_.chunk_id_keep / std::chrono::microseconds(1);
    auto forgot = co_await session.run(
        statement(range, "DELETE FROM " + std::string(kChunks) + " WHERE stored < ?1", {Value(before)}, "DELETE"));
    if (!forgot.ok()) co_return std::move(forgot).error();
  }
  auto claimed = co_await session.run(
      statement(range, "INSERT INTO " + std::string(kChunks) + "(id, stored) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                {Value(claim_key(chunk)), Value(now)}));
  if (!claimed.ok()) co_return std::move(claimed).error();
  co_return claimed->changes > 0;
}

asio::awaitable<Result<void>> TableSink::insert(gateway::Session& session, std::optional<RangeId> range,
                                                Portions portions) {
  const std::string sql =
      "INSERT INTO " + quoted(options_.table) + "(time, host, tag, fields, error) VALUES (?1, ?2, ?3, ?4, ?5)";
  for (std::vector<Row>& rows : portions) {
    gateway::Statement portion = statement(range, sql);
    portion.params = std::move(rows);
    auto ran = co_await session.run(std::move(portion));
    if (!ran.ok()) co_return std::move(ran).error();
  }
  co_return Result<void>();
}

Result<TableSink::Portions> TableSink::portions_of(const ingest::Chunk& chunk) const {
  Portions portions;
  std::size_t bytes = kPortionBytes;
  TRY(chunk.each_batch([&](std::string_view batch) -> Result<void> {
    ingest::RecordBatch::Reader reader(batch);
    for (ingest::RawRecord raw; reader.next(raw); bytes += raw.bytes.size()) {
      if (bytes >= kPortionBytes) {
        portions.emplace_back();
        bytes = 0;
      }
      portions.back().push_back(row_of(decoder_.decode(chunk.tag(), raw, chunk.form())));
    }
    return {};
  }));
  return portions;
}

}  // namespace outlast::server
