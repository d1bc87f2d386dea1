#include "cli/demo/roles/run.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "cli/demo/proof.h"
#include "cli/http_get.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
using enum NodeRole;
constexpr auto kStartTimeout = 60s, kSetupTimeout = 60s;
constexpr int kPartitions = 6;
constexpr int kInsertRows = 1500;
constexpr Duration kLifetime = 500ms;  ///< Of a short client's connection: it leaves before a frontend tells it to.
constexpr Duration kPause = 10ms;
constexpr Duration kHealthEvery = 200ms, kHealthLimit = 500ms;
constexpr Duration kMediumLimit = 60s;
constexpr Duration kTooLong = 15min;  ///< Of a slow machine's run.
const std::string kDatabase = "load_1";

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

Result<void> must(PgConnection& connection, const std::string& sql) {
  const PgReply reply = connection.run(sql, kSetupTimeout);
  if (reply.ok) return {};
  return Error(Errc::kInvalidState,
               fmt::format("\"{}\" failed: {} {}", sql.substr(0, 200), reply.sqlstate, reply.message));
}
}  // namespace

RolesDemo::RolesDemo(const DemoOptions& options, const InterruptScope& interrupt, const std::string& dir,
                     const std::string& meta)
    : options_(options),
      interrupt_(interrupt),
      dir_(dir),
      times_(roles_plan(options.duration)),
      roles_{kFrontend, kFrontend, kBackend, kBackend, kBackend, kCompute},
      cluster_({.dir = dir,
                .meta = meta,
                .node_args =
                    [this](int node) {
                      return std::vector<std::string>{
                          fmt::format("--roles={}", to_string(roles_[static_cast<std::size_t>(node)]))};
                    },
                .give_up = [&interrupt] { return interrupt.interrupted(); }}),
      exits_(roles_, times_, ports()),
      run_(static_cast<std::int64_t>(std::time(nullptr))) {
  report_.scenario = options.scenario;
  report_.seed = static_cast<std::uint64_t>(options.seed);
  report_.nodes = static_cast<int>(roles_.size());
  report_.readers = static_cast<int>(std::ranges::count(roles_, kFrontend));
  report_.roles = RolesReport{.plan = times_, .nodes = roles_};
}

std::vector<std::string> RolesDemo::urls(const std::string& database) const {
  std::vector<std::string> all;
  for (int i = 0; i < report_.nodes; ++i)
    if (is_frontend(i)) all.push_back(cluster_.sql_url(i, database));
  return all;
}

std::vector<std::string> RolesDemo::http_addresses() const {
  std::vector<std::string> all;
  for (int i = 0; i < report_.nodes; ++i)
    if (const auto facts = cluster_.facts(i); is_frontend(i) && facts.ok()) all.push_back(facts->http_addr);
  return all;
}

Result<void> RolesDemo::start() {
  TRY(start_nodes());
  ASSIGN_OR_RETURN(PgConnection sql, PgConnection::connect(urls("defaultdb").front(), "", 10s));
  TRY(prepare(sql));
  TRY(fill());
  return wait_replicated(kStartTimeout);
}

Result<void> RolesDemo::start_nodes() {
  fmt::print("starting 2 frontends, 3 backends and a compute node …\n");
  std::fflush(stdout);
  for (int i = 0; i < report_.nodes; ++i) TRY(cluster_.start(i));
  TRY(cluster_.init());
  for (int i = 0; i < report_.nodes; ++i) {
    auto ready = cluster_.wait_ready(i, kStartTimeout);
    if (!ready.ok()) return std::move(ready).error();
    ids_.push_back(ready->node);
    const std::string url = cluster_.sql_url(i, kDatabase);
    fmt::print("  node {}  {:<8}  {}  http://{}\n", i + 1, to_string(roles_[static_cast<std::size_t>(i)]),
               is_frontend(i) ? "psql '" + url + "'" : "", ready->http_addr);
  }
  std::fflush(stdout);
  return {};
}

Result<void> RolesDemo::prepare(PgConnection& sql) {
  TRY(must(sql, fmt::format("SET CLUSTER SETTING loop_count_wait_fragments_finish = {}", times_.loops)));
  TRY(must(sql, "SET CLUSTER SETTING graceful_exit_wait_for_frontend_heartbeat = true"));
  TRY(must(sql, fmt::format("SET CLUSTER SETTING min_graceful_exit_time_second = {}", times_.detection / 1s)));
  TRY(must(sql, "SET CLUSTER SETTING sql.ttl.interval = '1s'"));
  return must(sql, "CREATE DATABASE " + kDatabase);
}

/// The tables of all clients, and what the medium and long queries read.
Result<void> RolesDemo::fill() {
  ASSIGN_OR_RETURN(PgConnection sql, PgConnection::connect(urls(kDatabase).front(), "", 10s));
  // No key that would refuse a second copy of a row: duplicates have to show.
  TRY(must(sql, fmt::format("CREATE TABLE appended (run bigint NOT NULL, client bigint NOT NULL, seq bigint NOT NULL, "
                            "payload text NOT NULL) PARTITION BY HASH (seq) PARTITIONS {}",
                            kPartitions)));
  TRY(must(sql, "CREATE INDEX appended_by_client ON appended (run, client, seq)"));
  TRY(must(sql, fmt::format("CREATE TABLE loaded (label text NOT NULL, line bigint NOT NULL, payload text) "
                            "PARTITION BY HASH (line) PARTITIONS {}",
                            kPartitions)));
  TRY(must(sql, fmt::format("CREATE TABLE archive (id bigint PRIMARY KEY, payload text NOT NULL) "
                            "PARTITION BY HASH (id) PARTITIONS {}",
                            kPartitions)));
  TRY(must(sql, fmt::format("CREATE TABLE recent (at timestamp NOT NULL, second bigint NOT NULL) "
                            "PARTITION BY RANGE (at) INTERVAL '{} seconds' TTL '{} seconds'",
                            times_.interval / 1s, times_.ttl / 1s)));
  for (int id = 0; id < kArchiveRows; id += kInsertRows) TRY(must(sql, archive_rows(id, kInsertRows)));
  TRY(wait_replicated(kStartTimeout));
  for (const QueryKind kind : {QueryKind::kScan, QueryKind::kJoin}) {
    ASSIGN_OR_RETURN(const std::uint64_t effort, calibrate(sql, kind));
    efforts_.push_back(effort);
  }
  return {};
}

/// The effort that takes a second on this machine when nothing else runs.
Result<std::uint64_t> RolesDemo::calibrate(PgConnection& sql, QueryKind kind) {
  constexpr std::uint64_t kMost = 1ULL << 22;
  for (std::uint64_t effort = kind == QueryKind::kScan ? 1000 : 1;; effort *= 4) {
    const HeavyQuery query = heavy_query({.kind = kind}, effort);
    const auto began = Steady::now();
    const PgReply reply = sql.run(query.sql, kSetupTimeout);
    const double took = seconds(Steady::now() - began);
    if (!reply.ok || reply.rows.at(0).at(0) != query.answer)
      return Error(Errc::kInvalidState,
                   fmt::format("\"{}\" is answered with {} {}, not {}", query.sql, reply.sqlstate,
                               reply.ok ? reply.rows.at(0).at(0).value_or("NULL") : reply.message, query.answer));
    if (took >= 0.5 || effort >= kMost)
      return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(static_cast<double>(effort) / took));
  }
}

Result<void> RolesDemo::wait_replicated(Duration timeout) {
  return cluster_.wait_until("full replication (3 copies of every range)", timeout, [this] {
    for (int i = 0; i < report_.nodes; ++i)
      if (const auto ranges = cluster_.ranges(i); is_frontend(i) && ranges.ok())
        return ranges->size() > kPartitions && fully_replicated(*ranges, 3);
    return false;
  });
}

/// Clients that repeat nothing, and close their connections before a frontend has to.
WorkloadPlan RolesDemo::short_plan() const {
  return {.urls = urls("defaultdb"),
          .clients = static_cast<int>(options_.clients),
          .bank = false,
          .seed = static_cast<std::uint64_t>(options_.seed),
          .run = run_,
          .naive = true,
          .lifetime = kLifetime,
          .pause = kPause,
          .in_service = [this](std::size_t url) { return in_service_[url].load(); }};
}

void RolesDemo::add_query_client(QueryClass type, std::uint64_t effort, Duration limit) {
  const QueryClientOptions client{.urls = urls(kDatabase),
                                  .in_service = [this](std::size_t url) { return in_service_[url].load(); },
                                  .database = kDatabase,
                                  .query = heavy_query(type, effort),
                                  .limit = limit,
                                  .now = [this] { return elapsed(); }};
  threads_.emplace_back([this, client] { run_queries(client, queries_, stopping_); });
}

void RolesDemo::begin_load() {
  using enum QueryLength;
  using enum QueryKind;
  const auto effort = [this](QueryKind kind, Duration time) {
    return static_cast<std::uint64_t>(static_cast<double>(efforts_[static_cast<std::size_t>(kind)]) * seconds(time));
  };
  add_query_client({kMedium, kScan}, effort(kScan, times_.medium_scan), kMediumLimit);
  add_query_client({kMedium, kJoin}, effort(kJoin, times_.medium_join), kMediumLimit);
  for (const QueryKind kind : {kScan, kJoin}) {
    queries_.let({kMedium, kind}, true);
    add_query_client({kLong, kind}, effort(kind, 4 * times_.long_limit), times_.long_limit);
  }
  for (const bool persistent : {true, false}) {
    const LoadSender sender{.addresses = http_addresses(),
                            .in_service = [this](std::size_t address) { return in_service_[address].load(); },
                            .path = fmt::format("/api/{}/loaded/_stream_load", kDatabase),
                            .prefix = persistent ? "connector" : "plain",
                            .persistent = persistent,
                            .give_up = [this] { return abandoned_.load(); }};
    threads_.emplace_back([this, sender] { run_sender(sender, loads_, stopping_); });
  }
  threads_.emplace_back([this] { expiry_ = watch_expiry({urls(kDatabase), kDatabase}, stopping_); });
}

Result<void> RolesDemo::load() {
  LoadRecord record;
  WorkloadRun run(short_plan(), record);
  look_at_health();
  load_began_ = Steady::now();
  load_began_at_ = std::chrono::system_clock::now();
  run.start();
  begin_load();
  const auto went = run_until_over(record);
  abandoned_ = !went.ok();
  if (!went.ok()) cluster_.kill_all();  // clients that wait for an answer see their connections end
  end_load();
  run.stop();
  if (!went.ok()) return went;
  report_.finished = true;
  take_numbers(record);
  journals_ = run.journals();
  return {};
}

Result<void> RolesDemo::run_until_over(const LoadRecord& record) {
  while (goes_on()) {
    if (interrupt_.wait(20ms)) return Error(Errc::kCancelled, "interrupted");
    look_at_health();
    exits_.step(elapsed());
    let_queries();
    if (board_.wants_update(seconds(elapsed()))) show(record);
  }
  return {};
}

/// The run lasts until every node was away and is back, however slow the machine.
bool RolesDemo::goes_on() const {
  return elapsed() < options_.duration || (!exits_.finished() && elapsed() < kTooLong);
}

/// A long query begins before an exit that is to meet one, and no other time: of the kind that works on that node.
void RolesDemo::let_queries() {
  const ExitTurn* const turn = exits_.current();
  const bool wanted = turn != nullptr && turn->with_long && !turn->gone;
  queries_.let({QueryLength::kLong, QueryKind::kJoin}, wanted && turn->role == kCompute);
  queries_.let({QueryLength::kLong, QueryKind::kScan}, wanted && turn->role == kBackend);
}

/// What a balancer does, and tells all clients.
void RolesDemo::look_at_health() {
  if (Steady::now() - looked_at_health_ < kHealthEvery) return;
  looked_at_health_ = Steady::now();
  for (int i = 0; i < report_.nodes; ++i) {
    const auto facts = cluster_.facts(i);
    if (!is_frontend(i)) continue;
    const Result<HttpAnswer> answer =
        facts.ok() ? http_get(facts->http_addr, "/api/health", kHealthLimit) : Result<HttpAnswer>(facts.error());
    in_service_[static_cast<std::size_t>(i)] = answer.ok() && answer->status == 200;
  }
}

void RolesDemo::end_load() {
  for (const QueryKind kind : {QueryKind::kScan, QueryKind::kJoin}) queries_.let({QueryLength::kMedium, kind}, false);
  stopping_ = true;
  threads_.clear();  // joins
}

void RolesDemo::show(const LoadRecord& record) {
  const auto last = record.last(1s);
  ScoreboardView view{.seconds = seconds(elapsed()),
                      .seconds_total = seconds(options_.duration),
                      .statements_per_second = static_cast<double>(last.count()),
                      .p50_ms = last.quantile_ms(0.5),
                      .p99_ms = last.quantile_ms(0.99),
                      .statements = record.statements(),
                      .last_event = last_event_};
  const ExitTurn* const turn = exits_.current();
  for (int i = 0; i < report_.nodes; ++i) {
    const auto facts = cluster_.facts(i);
    view.nodes.push_back(
        {i + 1, turn == nullptr || turn->node != i, -1,
         facts.ok() && is_frontend(i) ? facts->sql_addr : to_string(roles_[static_cast<std::size_t>(i)])});
  }
  board_.show(view);
}

}  // namespace outlast::cli
