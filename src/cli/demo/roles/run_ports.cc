// What the exits of the scenario roles ask of the cluster: as an operator would, by the command line, SQL and HTTP.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <iterator>

#include "base/parse.h"
#include "cli/demo/proof.h"
#include "cli/demo/roles/run.h"
#include "cli/http_get.h"
#include "server/restart_status.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kLookEvery = 200ms;
constexpr auto kAnswerLimit = 1s;

std::string text_of_file(const std::string& path) {
  std::ifstream in(path);
  return std::string((std::istreambuf_iterator<char>(in)), {});
}
}  // namespace

RolesExits::Ports RolesDemo::ports() {
  return {.prepared = [this](const ExitTurn& next) { return prepared(next); },
          .queries = [this] { return queries_.running(); },
          .stop = [this](const ExitTurn& turn) { return stop(turn); },
          .stopped = [this] { return cluster_.command_exit(); },
          .shown = [this](const ExitTurn& turn) { return shown(turn); },
          .unhealthy = [this](int node) { return unhealthy(node); },
          .running = [this](int node) { return cluster_.running(node); },
          .start = [this](int node) { return cluster_.start(node); },
          .ready = [this](int node) { return cluster_.ready(node).ok(); },
          .healed = [this] { return healed(); },
          .leader = [this] { return leader(); },
          .take_receipt = [this](ExitTurn& turn) { take_receipt(turn); },
          .say =
              [this](const std::string& line) {
                last_event_ = line.substr(std::min<std::size_t>(2, line.size()));
                board_.say(line);
              }};
}

/// Every exit meets queries that run: those of medium length always, a long one where the plan has one.
bool RolesDemo::prepared(const ExitTurn& next) const {
  const auto runs = [this](QueryLength length, QueryKind kind) { return queries_.running({length, kind}) > 0; };
  using enum QueryLength;
  using enum QueryKind;
  if (!runs(kMedium, kScan) || !runs(kMedium, kJoin)) return false;
  const QueryKind own = next.role == NodeRole::kCompute ? kJoin : kScan;
  return next.with_long ? runs(kLong, own) : !runs(kLong, kScan) && !runs(kLong, kJoin);
}

std::string RolesDemo::stop_log(int node) const {
  return fmt::format("{}/stop{}.log", dir_, node + 1);
}

Result<void> RolesDemo::stop(const ExitTurn& turn) {
  healed_ = false;  // until somebody has looked
  const Duration timeout = turn.role == NodeRole::kFrontend ? times_.frontend_timeout : times_.fragments_timeout;
  return cluster_.start_command(
      {"stop", "-g", fmt::format("--timeout={}s", timeout / 1s), "--store=" + cluster_.store(turn.node)},
      stop_log(turn.node));
}

/// Asks a frontend that is not this node.
PgReply RolesDemo::ask_other(int node, const std::string& sql) {
  for (int i = 0; i < report_.nodes; ++i) {
    if (i == node || !is_frontend(i)) continue;
    auto watcher = watchers_.find(i);
    if (watcher != watchers_.end() && (watcher->second.broken() || watcher->second.farewell())) {
      watchers_.erase(watcher);
      watcher = watchers_.end();
    }
    if (watcher == watchers_.end()) {
      auto made = PgConnection::connect(cluster_.sql_url(i), "", kAnswerLimit);
      if (!made.ok()) continue;
      watcher = watchers_.emplace(i, std::move(made).value()).first;
    }
    if (PgReply reply = watcher->second.run(sql, kAnswerLimit); reply.ok) return reply;
  }
  return {};
}

namespace {
/// What a row says in a column; empty when there is no such column.
std::string field(const PgReply& reply, const std::vector<std::optional<std::string>>& row, std::string_view column) {
  const auto at = std::ranges::find(reply.columns, column);
  if (at == reply.columns.end()) return "";
  return row[static_cast<std::size_t>(at - reply.columns.begin())].value_or("");
}
}  // namespace

std::optional<NodeShown> RolesDemo::shown(const ExitTurn& turn) {
  constexpr const char* kStatements[] = {"SHOW FRONTENDS", "SHOW BACKENDS", "SHOW COMPUTE NODES"};
  const PgReply reply = ask_other(turn.node, kStatements[static_cast<int>(turn.role)]);
  const std::string id = std::to_string(ids_[static_cast<std::size_t>(turn.node)].value);
  for (const auto& row : reply.rows)
    if (!row.empty() && row[0] == id) {
      NodeShown shown{.code = field(reply, row, "StatusCode")};
      if (const auto running = parse_int(field(reply, row, "NumRunningQueries")); running.ok())
        shown.running = static_cast<std::uint64_t>(*running);
      return shown;
    }
  return std::nullopt;
}

std::optional<int> RolesDemo::leader() {
  const PgReply reply = ask_other(-1, "SHOW FRONTENDS");
  for (const auto& row : reply.rows) {
    if (field(reply, row, "Role") != "LEADER") continue;
    const auto found =
        std::ranges::find(ids_, field(reply, row, "Id"), [](NodeId id) { return std::to_string(id.value); });
    if (found == ids_.end()) return std::nullopt;
    const int now = static_cast<int>(found - ids_.begin());
    leader_changes_ += leader_ && *leader_ != now;
    leader_ = now;
    return now;
  }
  return std::nullopt;
}

bool RolesDemo::unhealthy(int node) const {
  const auto facts = cluster_.facts(node);
  if (!facts.ok()) return false;
  const auto answer = http_get(facts->http_addr, "/api/health", kAnswerLimit);
  return answer.ok() && answer->status == 500;
}

bool RolesDemo::healed() {
  if (Steady::now() - looked_ < kLookEvery) return healed_;
  looked_ = Steady::now();
  Result<std::vector<RangeFacts>> ranges = Error(Errc::kNotReady, "");
  for (int i = 0; i < report_.nodes && !ranges.ok(); ++i)
    if (is_frontend(i)) ranges = cluster_.ranges(i, 500ms);
  return healed_ = ranges.ok() && fully_replicated(*ranges, 3);
}

/// What the node wrote when its drain ended, and what the command said.
void RolesDemo::take_receipt(ExitTurn& turn) const {
  turn.killed = text_of_file(stop_log(turn.node)).find("SIGKILL") != std::string::npos;
  boost::system::error_code wrong;
  const auto receipt = boost::json::parse(text_of_file(cluster_.store(turn.node) + "/DRAIN.json"), wrong);
  if (wrong || !receipt.is_object()) return;
  const boost::json::object fragments = server::object_of(receipt.get_object(), "fragments");
  if (fragments.empty()) return;
  const auto count = [&fragments](const char* name) { return server::number_of(fragments, name); };
  turn.work = ExitWork{.finished = count("done"),
                       .cut = count("failed") + count("cancelled") + count("unknown"),
                       .refused = count("refused")};
}

}  // namespace outlast::cli
