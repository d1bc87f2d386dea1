#include "cli/restart_text.h"

#include <spdlog/fmt/fmt.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace outlast::cli {
namespace {
namespace json = boost::json;
using server::array_of;
using server::number_of;
using server::object_of;
using server::text_of;
constexpr std::size_t kSessionsShown = 10;

constexpr std::pair<std::string_view, std::string_view> kSteps[] = {
    {"trial", "trying the new program"},
    {"standby", "starting the new worker beside the old one"},
    {"sessions", "moving sessions and leases"},
    {"storage_released", "the new worker takes the store"},
    {"owned", "the new worker serves; the old one ends"}};
constexpr const char* kDurations[] = {"trial", "standby", "sessions", "released", "owned"};

std::string counted(std::uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string seconds(std::uint64_t ms) {
  return fmt::format("{:.1f} s", static_cast<double>(ms) / 1000);
}

/// "  session 12 of app: a cursor WITH HOLD", at most kSessionsShown of them.
std::string session_lines(const json::array& sessions) {
  std::string text;
  std::size_t shown = 0;
  for (const json::value& each : sessions) {
    if (!each.is_object()) continue;
    if (++shown > kSessionsShown) break;
    const std::string reason = text_of(each.get_object(), "reason");
    text += fmt::format("  {}{}{}\n", text_of(each.get_object(), "session"), reason.empty() ? "" : ": ", reason);
  }
  if (sessions.size() > kSessionsShown)
    text += fmt::format("  … and {} more: --format=json names them\n", sessions.size() - kSessionsShown);
  return text;
}

/// "?" for what nobody could say.
std::string number_text(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && value->is_number() ? std::to_string(number_of(object, key)) : "?";
}

std::string steps(const json::object& durations) {
  std::string text;
  for (const char* step : kDurations)
    if (durations.contains(step))
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", step, seconds(number_of(durations, step)));
  return text;
}

std::string versions(const json::object& receipt) {
  const std::string from = text_of(receipt, "from_version"), to = text_of(receipt, "to_version");
  if (from == to || to.empty()) return from;
  return from + " to " + to;
}

std::string session_counts(const json::object& sessions) {
  const json::object pause = object_of(sessions, "pause_ms");
  std::string text = fmt::format("{} moved, {} told to reconnect, {} lost", number_text(sessions, "moved"),
                                 array_of(sessions, "not_moved").size(), number_text(sessions, "lost"));
  if (number_of(sessions, "moved") > 0)
    text += fmt::format("; paused p50 {} ms, p99 {} ms, max {} ms", number_text(pause, "p50"),
                        number_text(pause, "p99"), number_text(pause, "max"));
  return text;
}

}  // namespace

std::string restart_step(std::string_view state) {
  for (const auto& [name, words] : kSteps)
    if (name == state) return std::string(words);
  return std::string(state);
}

std::string restart_failure(const json::object& receipt) {
  const std::string outcome = text_of(receipt, "outcome"), why = text_of(receipt, "why");
  const char* const kept =
      outcome == "refused" ? "nothing was changed" : "the node serves as before, with the program that it had";
  return fmt::format("restart {} was {}: {}; {}", number_of(receipt, "id"),
                     outcome == "rolled_back" ? "rolled back" : outcome, why.empty() ? "no reason was given" : why,
                     kept);
}

std::string restart_receipt(const json::object& r) {
  const json::object durations = object_of(r, "duration_ms"), sessions = object_of(r, "sessions"),
                     leases = object_of(r, "leases");
  const std::uint64_t attempts = number_of(r, "attempts");
  const std::string outcome = text_of(r, "outcome");
  std::string text = fmt::format(
      "restart     {} {} in {}{}\n", number_of(r, "id"), outcome == "rolled_back" ? "rolled back" : outcome,
      seconds(number_of(durations, "total")), attempts > 1 ? fmt::format(", {} attempts", attempts) : std::string());
  if (const std::string by = text_of(r, "by"); !by.empty()) text += fmt::format("by          {}\n", by);
  text += fmt::format("version     {}\n", versions(r));
  if (const std::string why = text_of(r, "why"); !why.empty()) text += fmt::format("why         {}\n", why);
  if (const std::string taken = steps(durations); !taken.empty()) text += fmt::format("steps       {}\n", taken);
  if (outcome == "refused") return text;
  text += fmt::format("sessions    {}\n", session_counts(sessions));
  text += fmt::format("clients     {} refused, {} reset, {} statements held\n", number_text(r, "refused"),
                      number_text(r, "reset"), number_text(r, "held"));
  text += fmt::format("leases      {} moved, {} kept\n", number_text(leases, "moved"), number_text(leases, "kept"));
  if (r.contains("inputs")) {
    const json::object inputs = object_of(r, "inputs");
    text += fmt::format("inputs      {} taken over, {} connections moved, {} datagrams dropped by the kernel\n",
                        number_text(inputs, "taken_over"), number_text(inputs, "connections"),
                        number_text(inputs, "kernel_drops"));
  }
  return text + session_lines(array_of(sessions, "not_moved"));
}

std::string restart_plan(const json::object& plan) {
  const json::object trial = object_of(plan, "trial"), worker = object_of(plan, "worker");
  std::string text = "plan: nothing was changed\n";
  if (const std::string refusal = plan_refusal(plan); !refusal.empty())
    text += fmt::format("refused     {}\n", refusal);
  if (const std::string version = text_of(trial, "version"); !version.empty())
    text += fmt::format("version     {} could start here\n", version);
  for (const json::value& warning : array_of(trial, "warnings"))
    if (warning.is_string()) text += fmt::format("warning     {}\n", std::string_view(warning.get_string()));
  const auto group = [&](const char* key, const char* words) {
    if (!worker.contains(key)) return;
    const json::array sessions = array_of(worker, key);
    const std::uint64_t count = sessions.empty() ? number_of(worker, key) : sessions.size();
    text += fmt::format("{:<12}{} {}\n{}", key, counted(count, "session"), words, session_lines(sessions));
  };
  group("moves", "at once, without noticing");
  group("waits", "for the end of a statement or transaction, and then without noticing");
  group("reconnects", "told to connect again (57P01)");
  if (const std::uint64_t inputs = number_of(worker, "inputs"); inputs > 0)
    text += fmt::format("inputs      {}, with their sockets and connections\n", inputs);
  if (worker.contains("expected_pause_ms"))
    text += fmt::format("pause       about {} ms for a session\n", number_of(worker, "expected_pause_ms"));
  if (const std::string why = text_of(worker, "error"); !why.empty()) text += fmt::format("sessions    ? {}\n", why);
  return text;
}

std::string plan_refusal(const json::object& plan) {
  return text_of(object_of(plan, "trial"), "error");
}

std::string RestartProgress::take(const server::RestartStatus& status, std::uint64_t id, Duration now) {
  if (status.running() && status.id < id) {
    const bool first = !waits_;
    waits_ = true;
    return first ? fmt::format("restart {} goes on; {} follows when it is over\n", status.id, id) : std::string();
  }
  const std::string state = status.running() && status.id == id ? status.state : std::string();
  if (state == state_) return {};
  std::string line;
  if (!state_.empty())
    line = fmt::format("{:<45} {:.1f} s\n", restart_step(state_), std::chrono::duration<double>(now - since_).count());
  state_ = state;
  since_ = now;
  return line;
}

}  // namespace outlast::cli
