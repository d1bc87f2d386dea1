// How the records of a demo are found again: in the table, in the files, and in which order.
#include <spdlog/fmt/fmt.h>

#include <boost/json.hpp>
#include <fstream>

#include "cli/demo/records.h"
#include "cli/pg_connection.h"
#include "server/restart_status.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;
constexpr auto kQueryTimeout = 30s;
constexpr auto kSettleTimeout = 120s;
constexpr auto kNothingComes = 15s;  ///< Nothing was stored for so long: nothing will be.
constexpr auto kNothingWaits = 2s;   ///< The same, when no buffer holds anything either.
constexpr std::size_t kRowsOnce = 20'000;
}  // namespace

/// Those that are new since the last time.
Result<void> DemoRecords::read_rows(std::optional<PgConnection>& sql) {
  if (!sql || sql->broken()) {
    ASSIGN_OR_RETURN(sql, PgConnection::connect(cluster_.sql_url(0), kDatabase, kQueryTimeout));
  }
  for (;;) {
    const PgReply reply =
        sql->run(fmt::format("SELECT id, fields ->> 'message' FROM {} WHERE id > {} ORDER BY id LIMIT {}", kDatabase,
                             last_row_, kRowsOnce),
                 kQueryTimeout);
    if (!reply.ok)
      return Error(Errc::kUnavailable, "the records cannot be read: " + reply.sqlstate + " " + reply.message);
    for (const auto& row : reply.rows) table_.saw(row[1].value_or(""));
    if (!reply.rows.empty()) last_row_ = *reply.rows.back()[0];
    if (reply.rows.size() < kRowsOnce) return {};
  }
}

bool DemoRecords::complete() const {
  for (const Part& part : parts_)
    for (const auto& [plan, counts] : part.senders->counts())
      if (!table_.complete(plan.id, counts)) return false;
  return true;
}

bool DemoRecords::nothing_held() const {
  for (int i = 0; i < options_.nodes; ++i) {
    const auto all = status(i);
    if (!all.ok()) return false;
    for (const boost::json::value& sink : server::array_of(*all, "sinks"))
      if (server::number_of(server::object_of(sink.as_object(), "held"), "records") != 0) return false;
  }
  return true;
}

Result<void> DemoRecords::settle() {
  auto moved = Steady::now();
  Result<void> read;
  std::optional<PgConnection> sql;
  const auto reached = [&] {
    const std::uint64_t before = table_.seen();
    read = read_rows(sql);
    if (!read.ok()) return false;
    if (table_.seen() != before) moved = Steady::now();
    const bool empty = nothing_held();
    return (empty && complete()) || Steady::now() - moved > (empty ? kNothingWaits : kNothingComes);
  };
  auto waited = cluster_.wait_until("the arrival of all records", kSettleTimeout, reached);
  return read.ok() ? std::move(waited) : std::move(read);
}

RecordCheck DemoRecords::read_files() const {
  RecordCheck check;
  for (int i = 0; i < options_.nodes; ++i) {
    std::ifstream in(file(i));
    for (std::string line; std::getline(in, line);) check.saw(line);
  }
  return check;
}

std::vector<RecordsReport> DemoRecords::reports() const {
  std::optional<RecordCheck> files;
  if (options_.lasting) files = read_files();
  std::vector<RecordsReport> all;
  for (const Part& part : parts_) all.push_back(report(part, files ? &*files : nullptr));
  // Workers that live on say what they said before.
  for (std::size_t i = 1; i < all.size(); ++i) all[i].longest_gap_ms.reset();
  // A row without a record says nothing of its sender.
  if (!all.empty()) all.front().unreadable = table_.unreadable();
  if (!all.empty() && files) all.front().files->unreadable += files->unreadable();
  return all;
}

RecordsReport DemoRecords::report(const Part& part, const RecordCheck* files) const {
  RecordsReport report{.wanted = part.wanted, .longest_gap_ms = part.longest_gap_ms};
  if (part.drops_before && part.drops) report.kernel_drops = *part.drops - *part.drops_before;
  if (files != nullptr) report.files.emplace();
  for (const auto& [plan, counts] : part.senders->counts()) {
    RecordKindReport& kind = report.kinds[plan.kind];
    kind.counts.add(counts);
    kind.stored.add(table_.of(plan.id, counts));
    if (files != nullptr) report.files->add(files->of(plan.id, counts));
  }
  return report;
}

}  // namespace outlast::cli
