#include "cli/workload.h"

#include <spdlog/fmt/fmt.h>

#include <fstream>

#include "cli/workload_client.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kSetupTimeout = 60s;

Result<PgConnection> connect_any(const WorkloadPlan& plan, const std::string& database) {
  Error last(Errc::kInvalidArgument, "no --url was given");
  for (const std::string& url : plan.urls) {
    auto made = PgConnection::connect(url, database, 10s);
    if (made.ok()) return made;
    last = std::move(made).error();
  }
  return last;
}

Result<void> must(PgConnection& connection, const std::string& sql, const char* tolerated = "") {
  const PgReply reply = connection.run(sql, kSetupTimeout);
  if (reply.ok || (*tolerated != '\0' && reply.sqlstate == tolerated)) return {};
  return Error(reply.sqlstate.empty() ? Errc::kUnavailable : errc_from_sqlstate(reply.sqlstate),
               fmt::format("\"{}\" failed: {} {}", sql, reply.sqlstate, reply.message));
}

Result<void> make_tables(const WorkloadPlan& plan, PgConnection& connection) {
  TRY(must(connection, "CREATE TABLE IF NOT EXISTS accounts (id bigint PRIMARY KEY, balance bigint NOT NULL)"));
  TRY(must(connection,
           "CREATE TABLE IF NOT EXISTS transfers (run bigint NOT NULL, client bigint NOT NULL, "
           "seq bigint NOT NULL, source bigint NOT NULL, target bigint NOT NULL, amount bigint NOT NULL)"));
  // No key that would refuse a second copy of a row: duplicates have to show.
  TRY(must(connection,
           "CREATE TABLE IF NOT EXISTS appended (run bigint NOT NULL, client bigint NOT NULL, "
           "seq bigint NOT NULL, payload text NOT NULL)"));
  TRY(must(connection, "CREATE INDEX IF NOT EXISTS appended_by_client ON appended (run, client, seq)"));
  const PgReply have = connection.run("SELECT count(*) FROM accounts", kSetupTimeout);
  if (!have.ok || have.rows.size() != 1 || have.rows[0].size() != 1)
    return Error(Errc::kInvalidState, "cannot count the accounts: " + have.message);
  const std::string count = have.rows[0][0].value_or("0");
  if (count == std::to_string(plan.accounts)) return {};
  if (count != "0")
    return Error(Errc::kInvalidArgument, fmt::format("there are {} accounts already, not {}: give --accounts={} or "
                                                     "start anew with --drop",
                                                     count, plan.accounts, count));
  std::string insert = "INSERT INTO accounts (id, balance) VALUES ";
  for (int id = 0; id < plan.accounts; ++id)
    insert += fmt::format("{}({}, {})", id == 0 ? "" : ", ", id, kOpeningBalance);
  return must(connection, insert);
}

constexpr const char* kKindNames[] = {"appended", "transfer"};
constexpr const char* kFateNames[] = {"acked", "refused", "unknown"};

template <class Enum, std::size_t N>
Result<Enum> named(const std::string& word, const char* const (&names)[N]) {
  for (std::size_t i = 0; i < N; ++i)
    if (word == names[i]) return static_cast<Enum>(i);
  return Error(Errc::kInvalidArgument, "\"" + word + "\" is not a word of a journal");
}

}  // namespace

Result<void> workload_init(const WorkloadPlan& plan, bool drop) {
  ASSIGN_OR_RETURN(PgConnection main, connect_any(plan, ""));
  for (int i = 0; i < plan.databases; ++i) {
    const std::string database = plan.database(i);
    if (drop) TRY(must(main, "DROP DATABASE IF EXISTS " + database));
    TRY(must(main, "CREATE DATABASE " + database, "42P04"));
    ASSIGN_OR_RETURN(PgConnection connection, connect_any(plan, database));
    if (auto made = make_tables(plan, connection); !made.ok()) return std::move(made.error()).within(database);
  }
  return {};
}

WorkloadRun::WorkloadRun(WorkloadPlan plan, LoadRecord& record) : plan_(std::move(plan)), record_(record) {
  for (int i = 0; i < plan_.clients; ++i) {
    const bool bank = plan_.bank && (!plan_.append || i % 2 == 1);
    // Two neighbours, one of each kind, share a database.
    const int database = plan_.bank && plan_.append ? i / 2 : i;
    journals_.push_back({i, bank ? RowKind::kTransfer : RowKind::kAppended, plan_.database(database), {}});
  }
}

WorkloadRun::~WorkloadRun() {
  stop();
}

void WorkloadRun::start() {
  for (int i = 0; i < plan_.clients; ++i)
    threads_.emplace_back(
        [this, i] { WorkloadClient(plan_, i, record_, stopping_, journals_[static_cast<std::size_t>(i)]).run(); });
}

void WorkloadRun::stop() {
  stopping_ = true;
  threads_.clear();  // joins
}

Result<void> write_journals(const std::string& path, std::int64_t run, const std::vector<ClientJournal>& journals) {
  std::ofstream file(path);
  for (const ClientJournal& journal : journals)
    for (const WrittenRow& row : journal.rows)
      file << run << ' ' << journal.database << ' ' << kKindNames[static_cast<int>(journal.kind)] << ' '
           << row.key.client << ' ' << row.key.seq << ' ' << kFateNames[static_cast<int>(row.fate)] << '\n';
  file.close();
  if (!file) return Error(Errc::kIo, "cannot write " + path + ": check the folder and the space left");
  return {};
}

Result<JournalFile> read_journals(const std::string& path) {
  std::ifstream file(path);
  if (!file) return Error(Errc::kIo, "cannot read " + path + ": `outlast workload run --journal=FILE` writes it");
  JournalFile all;
  std::string database, kind, fate;
  std::int64_t run = 0;
  RowKey key;
  while (file >> run >> database >> kind >> key.client >> key.seq >> fate) {
    ASSIGN_OR_RETURN(const RowKind row_kind, named<RowKind>(kind, kKindNames));
    ASSIGN_OR_RETURN(const RowFate row_fate, named<RowFate>(fate, kFateNames));
    if (all.run != 0 && all.run != run) return Error(Errc::kInvalidArgument, path + " holds more than one run");
    all.run = run;
    if (all.journals.empty() || all.journals.back().client != key.client)
      all.journals.push_back({key.client, row_kind, database, {}});
    all.journals.back().rows.push_back({key, row_fate});
  }
  if (!file.eof()) return Error(Errc::kCorrupt, path + " is not a journal of a workload, or was cut");
  return all;
}

}  // namespace outlast::cli
