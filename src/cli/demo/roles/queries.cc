#include "cli/demo/roles/queries.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <utility>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kConnectTimeout = 3s, kAnswerMargin = 30s;
constexpr auto kIdle = 20ms;
constexpr auto kSeen = 500ms;  ///< A client and the one who watches exits may see the same instant so far apart.
constexpr std::size_t kFailuresMax = 5;
constexpr int kPayload = 40;    ///< Digits: nothing that the scan replaces.
constexpr int kJoinRows = 500;  ///< Of each side of the join.

std::size_t index_of(QueryClass type) {
  return static_cast<std::size_t>(type.length) * 2 + static_cast<std::size_t>(type.kind);
}

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

/// An exit was under way, and what ran had been given its window.
bool ended_by_exit(const QueryRun& run, const std::vector<ExitTurn>& exits) {
  return std::ranges::any_of(exits, [&run](const ExitTurn& exit) {
    const bool over = exit.gone && run.began > *exit.gone + kSeen;
    return !over && run.ended + kSeen >= exit.asked + exit.window && (!exit.gone || run.ended <= *exit.gone + 2s);
  });
}

bool cancelled(const QueryRun& run, const std::vector<ExitTurn>& exits) {
  if (run.sqlstate == "57014" && run.type.length == QueryLength::kLong) return true;
  return !run.sqlstate.empty() && ended_by_exit(run, exits);
}

/// A frontend that lets us in, from the next one on.
std::optional<PgConnection> connect(const QueryClientOptions& options, std::size_t& next,
                                    const std::atomic<bool>& stopping) {
  for (; !stopping; std::this_thread::sleep_for(kIdle)) {
    const std::size_t at = std::exchange(next, (next + 1) % options.urls.size());
    if (!options.in_service(at)) continue;
    if (auto made = PgConnection::connect(options.urls[at], options.database, kConnectTimeout); made.ok())
      return std::move(made).value();
  }
  return std::nullopt;
}

}  // namespace

std::string to_string(QueryClass query) {
  return fmt::format("{} {}", query.length == QueryLength::kMedium ? "medium" : "long",
                     query.kind == QueryKind::kScan ? "scan" : "join");
}

std::string archive_rows(int from, int count) {
  std::string sql = "INSERT INTO archive (id, payload) VALUES ";
  for (int id = from; id < from + count; ++id)
    sql += fmt::format("{}({}, '{}')", id == from ? "" : ", ", id, std::string(kPayload, '7'));
  return sql;
}

HeavyQuery heavy_query(QueryClass type, std::uint64_t effort) {
  if (type.kind == QueryKind::kJoin) {
    const std::uint64_t third = std::clamp<std::uint64_t>(effort, 1, kArchiveRows);
    return {type,
            fmt::format("SELECT sum(CASE WHEN a.id + b.id + c.id >= 0 THEN 1 ELSE 0 END) FROM archive a, archive b, "
                        "archive c WHERE a.id < {0} AND b.id < {0} AND c.id < {1}",
                        kJoinRows, third),
            std::to_string(third * kJoinRows * kJoinRows)};
  }
  // Half of what lpad adds is an x, for which two characters come.
  const std::uint64_t length = std::max<std::uint64_t>(2 * effort, 2) + kPayload;
  return {type, fmt::format("SELECT sum(length(replace(lpad(payload, {}, 'xy'), 'x', 'yz'))) FROM archive", length),
          std::to_string(kArchiveRows * (length + (length - kPayload) / 2))};
}

void QueryRecord::began(QueryClass type) {
  const std::lock_guard lock(mutex_);
  ++running_[index_of(type)];
}
void QueryRecord::ended(QueryRun run) {
  const std::lock_guard lock(mutex_);
  --running_[index_of(run.type)];
  runs_.push_back(std::move(run));
}
std::size_t QueryRecord::running(QueryClass type) const {
  const std::lock_guard lock(mutex_);
  return running_[index_of(type)];
}
std::size_t QueryRecord::running() const {
  const std::lock_guard lock(mutex_);
  return running_[0] + running_[1] + running_[2] + running_[3];
}
std::vector<QueryRun> QueryRecord::runs() const {
  const std::lock_guard lock(mutex_);
  return runs_;
}
void QueryRecord::let(QueryClass type, bool may_begin) {
  const std::lock_guard lock(mutex_);
  may_begin_[index_of(type)] = may_begin;
}
bool QueryRecord::may_begin(QueryClass type) const {
  const std::lock_guard lock(mutex_);
  return may_begin_[index_of(type)];
}

QueryCounts count_queries(const std::vector<QueryRun>& runs, QueryLength length, const std::vector<ExitTurn>& exits) {
  QueryCounts counts;
  for (const QueryRun& run : runs) {
    if (run.type.length != length) continue;
    counts.retried += run.again;
    if (run.ok) {
      const double took = seconds(run.ended - run.began);
      counts.seconds_min = counts.ok == 0 ? took : std::min(counts.seconds_min, took);
      counts.seconds_max = std::max(counts.seconds_max, took);
      ++counts.ok;
    } else if (cancelled(run, exits)) {
      ++counts.cancelled;
    } else {
      ++counts.failed;
      if (counts.failures.size() < kFailuresMax)
        counts.failures.push_back(fmt::format("{} of {:.1f} s to {:.1f} s: {} {}", to_string(run.type),
                                              seconds(run.began), seconds(run.ended), run.sqlstate, run.message));
    }
  }
  return counts;
}

std::optional<Duration> busy_until(const std::vector<QueryRun>& runs, Duration at) {
  std::optional<Duration> last;
  for (const QueryRun& run : runs)
    if (run.began <= at && run.ended > at) last = std::max(last.value_or(run.ended), run.ended);
  return last;
}

void run_queries(const QueryClientOptions& options, QueryRecord& record, const std::atomic<bool>& stopping) {
  const QueryClass type = options.query.type;
  const std::string limit = fmt::format("SET statement_timeout = {}", options.limit / 1ms);
  std::size_t next = index_of(type) % options.urls.size();
  bool again = false;
  while (!stopping) {
    if (!record.may_begin(type)) {
      std::this_thread::sleep_for(kIdle);
      again = false;
      continue;
    }
    auto connection = connect(options, next, stopping);
    if (!connection || !connection->run(limit, kConnectTimeout).ok) continue;
    record.began(type);
    QueryRun run{.type = type, .began = options.now(), .again = again};
    const PgReply reply = connection->run(options.query.sql, options.limit + kAnswerMargin);
    run.ended = options.now();
    run.ok =
        reply.ok && reply.rows.size() == 1 && reply.rows[0].size() == 1 && reply.rows[0][0] == options.query.answer;
    run.sqlstate = reply.sqlstate;
    run.message = reply.ok ? "wrong answer: " + (reply.rows.empty() ? "no row" : reply.rows[0][0].value_or("NULL"))
                           : reply.message;
    again = !run.ok;
    const Duration rested = run.ended + (run.ended - run.began);
    record.ended(std::move(run));
    while (!stopping && record.may_begin(type) && options.now() < rested) std::this_thread::sleep_for(kIdle);
  }
}

}  // namespace outlast::cli
