#include "server/reload.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <functional>

#include "base/parse.h"

namespace outlast::server {
namespace json = boost::json;
namespace {

struct Known {
  const char* name;
  Takes takes;
  std::string (*value)(const StartOptions&);
};
constexpr Known kOptions[] = {
    {"store", Takes::kStop, [](const StartOptions& o) { return o.store; }},
    {"roles", Takes::kStop, [](const StartOptions& o) { return o.roles; }},
    {"with-source-only", Takes::kStop,
     [](const StartOptions& o) { return std::string(o.with_source_only ? "true" : "false"); }},
    {"listen-addr", Takes::kRestart, [](const StartOptions& o) { return o.listen_addr; }},
    {"sql-addr", Takes::kStop, [](const StartOptions& o) { return o.sql_addr; }},
    {"http-addr", Takes::kStop, [](const StartOptions& o) { return o.http_addr; }},
    {"advertise-addr", Takes::kRestart, [](const StartOptions& o) { return o.advertise_addr; }},
    {"locality", Takes::kRestart, [](const StartOptions& o) { return o.locality; }},
    {"max-connections", Takes::kNow, [](const StartOptions& o) { return std::to_string(o.max_connections); }},
    {"grace", Takes::kNow, [](const StartOptions& o) { return format_duration(o.grace); }},
    {"pid-file", Takes::kStop, [](const StartOptions& o) { return o.pid_file; }},
    {"log-file", Takes::kRestart, [](const StartOptions& o) { return o.log_file; }},
    {"log-level", Takes::kNow, [](const StartOptions& o) { return o.log_level; }},
    {"insecure", Takes::kRestart, [](const StartOptions& o) { return std::string(o.insecure ? "true" : "false"); }},
    {"meta", Takes::kStop, [](const StartOptions& o) { return o.meta; }},
};
}  // namespace

std::vector<OptionChange> compare_options(const StartOptions& before, const StartOptions& after) {
  std::vector<OptionChange> changes;
  for (const Known& option : kOptions) {
    std::string from = option.value(before), to = option.value(after);
    if (from != to) changes.push_back({option.name, std::move(from), std::move(to), option.takes});
  }
  return changes;
}

std::string reload_json(const std::vector<OptionChange>& changes) {
  json::object groups[3];
  for (const OptionChange& change : changes) groups[static_cast<std::size_t>(change.takes)][change.name] = change.to;
  return json::serialize(json::object{{"now", groups[0]}, {"restart", groups[1]}, {"stop", groups[2]}});
}

std::map<std::string, std::string> values_now(std::string_view reload) {
  boost::system::error_code error;
  const json::value parsed = json::parse(reload, error);
  const json::value* const now = !error && parsed.is_object() ? parsed.get_object().if_contains("now") : nullptr;
  std::map<std::string, std::string> values;
  if (now == nullptr || !now->is_object()) return values;
  for (const auto& [name, value] : now->get_object())
    if (value.is_string()) values[name] = value.get_string();
  return values;
}

}  // namespace outlast::server
