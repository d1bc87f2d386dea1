#include "handover/receipt.h"

#include <boost/json.hpp>
#include <chrono>

namespace outlast::handover {
namespace json = boost::json;
namespace {
using State = HandoverState;

json::object parse_object(const std::string& text) {
  boost::system::error_code error;
  json::value value = json::parse(text, error);
  return !error && value.is_object() ? std::move(value.as_object()) : json::object();
}

double ms(Duration duration) {
  return std::chrono::duration<double, std::milli>(std::chrono::round<std::chrono::microseconds>(duration)).count();
}

json::object durations(const RestartRecord& record) {
  const auto spent = [&record](State state) { return record.spent[static_cast<std::size_t>(state)]; };
  Duration total{};
  for (const State state : kAllHandoverStates)
    if (state != State::kIdle) total += spent(state);
  return {{"trial", ms(spent(State::kTrial))},       {"standby", ms(spent(State::kStandby))},
          {"sessions", ms(spent(State::kSessions))}, {"released", ms(spent(State::kStorageReleased))},
          {"owned", ms(spent(State::kOwned))},       {"total", ms(total)}};
}

/// What nobody said: nothing happened (refused), or nobody knows.
json::object unknown_half(const RestartRecord& record) {
  const bool untouched = record.outcome == Outcome::kRefused;
  const json::value none = untouched ? json::value(0) : json::value(nullptr);
  return {{"sessions", json::object{{"moved", none},
                                    {"not_moved", json::array()},
                                    {"lost", none},
                                    {"pause_ms", json::object{{"p50", none}, {"p99", none}, {"max", none}}}}},
          {"refused", none},
          {"reset", none},
          {"held", none},
          {"leases", json::object{{"moved", none}, {"kept", none}}}};
}

void merge(json::object& into, const json::object& from) {
  for (const auto& [key, value] : from) {
    json::value& here = into[key];
    if (here.is_object() && value.is_object())
      merge(here.as_object(), value.as_object());
    else
      here = value;
  }
}

std::string utc(std::int64_t micros) {
  const std::chrono::sys_time<std::chrono::microseconds> at{std::chrono::microseconds(micros)};
  const std::time_t seconds = std::chrono::system_clock::to_time_t(std::chrono::floor<std::chrono::seconds>(at));
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[40] = "";
  const std::size_t n = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  char fraction[16] = "";
  std::snprintf(fraction, sizeof fraction, ".%03dZ", static_cast<int>(micros / 1000 % 1000));
  return std::string(text, n) + fraction;
}
}  // namespace

std::string compose_receipt(const RestartRecord& record, const ReceiptFacts& facts) {
  json::object receipt{{"id", record.id},
                       {"outcome", to_string(record.outcome)},
                       {"why", record.why},
                       {"by", record.request.by},
                       {"from_version", facts.from_version},
                       {"to_version", facts.to_version},
                       {"duration_ms", durations(record)}};
  merge(receipt, unknown_half(record));
  json::object half = parse_object(facts.workers_half);
  for (const char* own : {"id", "outcome", "why", "by", "from_version", "to_version", "attempts", "started_at"})
    half.erase(own);
  merge(receipt, half);
  if (record.old_lost) receipt["sessions"].as_object()["lost"] = nullptr;  // they died with who knew them
  receipt["attempts"] = record.attempts;
  receipt["started_at"] = utc(facts.started_at_micros);
  return json::serialize(receipt);
}

std::string compose_status(const StatusFacts& facts) {
  json::object status{{"state", to_string(facts.state)},
                      {"id", facts.id},
                      {"queued", facts.queued},
                      {"worker_pid", facts.worker_pid},
                      {"crash_loop", facts.crash_loop},
                      {"version", facts.version},
                      {"receipt", parse_object(facts.receipt)}};
  if (facts.receipt.empty()) status["receipt"] = nullptr;
  return json::serialize(status);
}

std::string json_text(const std::string& object, std::string_view key) {
  const json::object parsed = parse_object(object);
  const json::value* const value = parsed.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : "";
}

}  // namespace outlast::handover
