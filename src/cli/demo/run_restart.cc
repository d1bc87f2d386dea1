// The scenario restart: the workers of all nodes are replaced in turn under load, by every way to ask for it.
#include <signal.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "cli/demo/run.h"
#include "cli/restart_source.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kPause = 5ms;  ///< Between a client's transactions, so that latencies are not those of a queue.
constexpr const char* kBy = "outlast demo";

std::string restarts_file(const std::string& store) {
  std::ifstream in(store + "/RESTARTS.json");
  return std::string((std::istreambuf_iterator<char>(in)), {});
}

Result<std::uint64_t> accepted(RestartSource& source) {
  ASSIGN_OR_RETURN(const server::RestartStatus status, source.start(kBy, ""));
  return status.accepted_id();
}
}  // namespace

/// Clients that repeat nothing, each with one connection to one node for the whole run.
WorkloadPlan Demo::patient_plan() const {
  WorkloadPlan plan = plan_;
  plan.naive = true;
  plan.pause = kPause;
  return plan;
}

/// A signal has no answer: its run is the next one, because nobody else asks.
Result<std::uint64_t> Demo::ask_restart(int node, RestartTrigger trigger) {
  ASSIGN_OR_RETURN(const NodeFacts facts, cluster_.facts(node));
  if (trigger == RestartTrigger::kStore) return accepted(*restart_by_store(cluster_.store(node)));
  if (trigger == RestartTrigger::kHttp) return accepted(*restart_by_http(facts.http_addr));
  const auto file = server::parse_restart_status(restarts_file(cluster_.store(node)));
  if (::kill(facts.pid, SIGUSR2) != 0) return Error(Errc::kUnavailable, "its supervisor is gone");
  return file.ok() ? server::number_of(file->all, "last_id") + 1 : 1;
}

void Demo::note_gap(const boost::json::object& receipt) {
  const boost::json::object inputs = server::object_of(receipt, "inputs");
  const auto* gap = inputs.if_contains("longest_gap_ms");
  if (records_ && gap != nullptr && gap->is_number()) records_->note_gap(gap->to_number<double>());
}

RestartRounds::Ports Demo::restart_ports() {
  return {.ask = [this](int node, RestartTrigger trigger) { return ask_restart(node, trigger); },
          .receipt = [this](int node, std::uint64_t id) -> std::optional<boost::json::object> {
            const auto found = find_receipt(restarts_file(cluster_.store(node)), id);
            if (!found) return std::nullopt;
            healed_ = false;  // until somebody has looked
            note_gap(found->receipt);
            return found->receipt;
          },
          .healed = [this] { return healed_; },
          .say =
              [this](const std::string& line) {
                last_event_ = line.substr(std::min<std::size_t>(2, line.size()));
                board_.say(line);
              }};
}

void Demo::take_restarts() {
  report_.receipts_wanted = restarts_wanted(restarts_end());
  if (!restarts_.trouble().empty()) report_.complaints.push_back(restarts_.trouble());
  for (const RestartTurn& turn : restarts_.turns()) {
    DemoEvent& event = report_.events.emplace_back(
        DemoEvent{std::chrono::duration<double>(turn.asked).count(), "restart", turn.node + 1, {}});
    if (!turn.over) continue;
    event.ready_after_seconds = std::chrono::duration<double>(*turn.over - turn.asked).count();
    boost::json::object& receipt = report_.restart_receipts.emplace_back(turn.receipt);
    receipt["node"] = turn.node + 1;
    report_.restarts += server::restart_succeeded(receipt);
  }
}

}  // namespace outlast::cli
