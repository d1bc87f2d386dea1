#include "server/table_sink.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>
#include <boost/json/serialize.hpp>
#include <ctime>

#include "sql/session/statement_runner.h"

namespace outlast::server {
namespace asio = boost::asio;
using executor::Value;

namespace {
constexpr std::size_t kPortionBytes = 1U << 20;  ///< Rows go in portions of about this much JSON.
constexpr std::uint64_t kForgetEvery = 256;      ///< Chunks, between two looks for ids that are old enough.
constexpr std::string_view kChunks = "ingest_chunks";

std::string quoted(const std::string& name) {
  std::string out = "\"";
  for (const char c : name) out.append(c == '"' ? 2 : 1, c);
  return out + "\"";
}

/// As a timestamptz column keeps it: no zeros behind the last digit of the fraction.
std::string timestamp(std::int64_t micros) {
  const std::int64_t seconds = micros >= 0 ? micros / 1'000'000 : (micros - 999'999) / 1'000'000;
  const std::time_t whole = seconds;
  std::tm parts{};
  gmtime_r(&whole, &parts);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02d-%02d %02d:%02d:%02d.%06lld", parts.tm_year + 1900, parts.tm_mon + 1,
                parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                static_cast<long long>(micros - seconds * 1'000'000));
  std::string out = text;
  out.erase(out.find_last_not_of('0') + 1);
  if (out.ends_with('.')) out.pop_back();
  return out;
}

void append_row(std::string& rows, const ingest::Record& record) {
  rows += rows.empty() ? "[[" : ",[";
  ingest::append_json_text(rows, timestamp(record.time_micros));
  rows += ',';
  ingest::append_json_text(rows, record.host);
  rows += ',';
  ingest::append_json_text(rows, record.tag);
  rows += ',';
  if (record.error.empty()) {
    rows += boost::json::serialize(record.fields) + ",null]";
    return;
  }
  rows += "{\"raw\":";
  ingest::append_json_text(rows, record.raw);
  rows += "},";
  ingest::append_json_text(rows, record.error);
  rows += ']';
}

gateway::Statement statement(std::string sql, std::vector<Value> values = {}, std::string tag = "INSERT") {
  gateway::Statement out;
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
  asio::co_spawn(asio::make_strand(executor_), store(shared_from_this(), std::move(chunk)),
                 [done = std::move(done)](const std::exception_ptr& failed, Result<void> stored) mutable {
                   if (failed) return done(Error(Errc::kInternal, "storing a chunk failed"));
                   done(std::move(stored));
                 });
}

asio::awaitable<Result<void>> TableSink::store(std::shared_ptr<TableSink> self,
                                               std::shared_ptr<const ingest::Chunk> chunk) {
  const auto session = self->cluster_.open_session();
  auto used = co_await session->use_database(self->options_.database);
  if (!used.ok()) co_return used;
  if (!self->made_) {
    auto made = co_await self->make_tables(*session);
    if (!made.ok()) co_return made;
    self->made_ = true;
  }
  auto stored = co_await self->store_in(*session, *chunk);
  if (!stored.ok() && session->status() != gateway::TxnStatus::kIdle) co_await session->rollback();
  if (!stored.ok()) self->made_ = false;  // the table may have been dropped
  co_return stored;
}

asio::awaitable<Result<void>> TableSink::store_in(gateway::Session& session, const ingest::Chunk& chunk) {
  auto begun = session.begin({.read_only = false, .immediate = true});
  if (!begun.ok()) co_return begun;
  auto fresh = co_await claim(session, chunk);
  if (!fresh.ok()) co_return std::move(fresh).error();
  if (!*fresh) {
    co_await session.rollback();
    co_return Result<void>();
  }
  auto inserted = co_await insert(session, chunk);
  if (!inserted.ok()) co_return inserted;
  auto committed = co_await session.commit();
  if (!committed.ok()) co_return std::move(committed).error();
  if (!*committed) co_return Error(Errc::kTransactionLost, "the transaction of a chunk was rolled back");
  co_return Result<void>();
}

asio::awaitable<Result<void>> TableSink::make_tables(gateway::Session& session) {
  const std::string statements[] = {
      "CREATE TABLE IF NOT EXISTS " + std::string(kChunks) + " (id text PRIMARY KEY, stored bigint NOT NULL)",
      "CREATE TABLE IF NOT EXISTS " + quoted(options_.table) +
          " (time timestamptz, host text, tag text, fields json, error text)"};
  for (const std::string& text : statements) {
    auto translated = sql::translate_one(text, {}, {});
    if (!translated.ok()) co_return std::move(translated).error();
    for (const std::string& part : translated->sql) {
      auto ran = co_await session.run(statement(part, {}, "CREATE TABLE"));
      if (!ran.ok()) co_return std::move(ran).error();
    }
  }
  co_return Result<void>();
}

/// True: this chunk was not stored yet, and its id is now in our transaction.
asio::awaitable<Result<bool>> TableSink::claim(gateway::Session& session, const ingest::Chunk& chunk) {
  const std::int64_t now = cluster_.wall_micros();
  if (stored_.fetch_add(1) % kForgetEvery == 0) {
    const std::int64_t before = now - options_.chunk_id_keep / std::chrono::microseconds(1);
    auto forgot = co_await session.run(
        statement("DELETE FROM " + std::string(kChunks) + " WHERE stored < ?1", {Value(before)}, "DELETE"));
    if (!forgot.ok()) co_return std::move(forgot).error();
  }
  auto claimed = co_await session.run(
      statement("INSERT INTO " + std::string(kChunks) + "(id, stored) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                {Value(chunk.id().to_string()), Value(now)}));
  if (!claimed.ok()) co_return std::move(claimed).error();
  co_return claimed->changes > 0;
}

asio::awaitable<Result<void>> TableSink::insert(gateway::Session& session, const ingest::Chunk& chunk) {
  auto portions = rows_of(chunk);
  if (!portions.ok()) co_return std::move(portions).error();
  const std::string sql = "INSERT INTO " + quoted(options_.table) +
                          "(time, host, tag, fields, error) SELECT value ->> 0, value ->> 1, value ->> 2, value -> 3, "
                          "value ->> 4 FROM json_each(?1)";
  for (std::string& rows : *portions) {
    auto ran = co_await session.run(statement(sql, {Value(std::move(rows))}));
    if (!ran.ok()) co_return std::move(ran).error();
  }
  co_return Result<void>();
}

Result<std::vector<std::string>> TableSink::rows_of(const ingest::Chunk& chunk) const {
  std::vector<std::string> portions;
  std::string rows;
  TRY(chunk.each_batch([&](std::string_view batch) -> Result<void> {
    ingest::RecordBatch::Reader reader(batch);
    for (ingest::RawRecord raw; reader.next(raw);) {
      append_row(rows, decoder_.decode(chunk.tag(), raw));
      if (rows.size() < kPortionBytes) continue;
      portions.push_back(std::move(rows) + "]");
      rows.clear();
    }
    return {};
  }));
  if (!rows.empty()) portions.push_back(std::move(rows) + "]");
  return portions;
}

}  // namespace outlast::server
