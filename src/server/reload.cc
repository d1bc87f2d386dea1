#include "server/reload.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace outlast::server {
namespace json = boost::json;

Reload compare(const StartOptions& now, const StartOptions& next) {
  Reload out;
  if (now.log_level != next.log_level) out.log_level = next.log_level;
  if (now.max_connections != next.max_connections) out.max_connections = next.max_connections;
  if (now.grace != next.grace) out.grace = next.grace;
  const auto fixed = [&out](const char* name, const auto& a, const auto& b) {
    if (a != b) out.needs_restart.emplace_back(name);
  };
  fixed("store", now.store, next.store);
  fixed("meta", now.meta, next.meta);
  fixed("listen-addr", now.listen_addr, next.listen_addr);
  fixed("sql-addr", now.sql_addr, next.sql_addr);
  fixed("http-addr", now.http_addr, next.http_addr);
  fixed("advertise-addr", now.advertise_addr, next.advertise_addr);
  fixed("log-file", now.log_file, next.log_file);
  fixed("pid-file", now.pid_file, next.pid_file);
  fixed("insecure", now.insecure, next.insecure);
  return out;
}

std::string to_json(const Reload& reload) {
  json::object changed;
  if (reload.log_level) changed["log-level"] = *reload.log_level;
  if (reload.max_connections) changed["max-connections"] = *reload.max_connections;
  if (reload.grace) changed["grace_ms"] = *reload.grace / std::chrono::milliseconds(1);
  json::array later(reload.needs_restart.begin(), reload.needs_restart.end());
  return json::serialize(json::object{{"changed", std::move(changed)}, {"needs_restart", std::move(later)}});
}

Result<Reload> parse_reload(std::string_view text) {
  boost::system::error_code error;
  const json::value parsed = json::parse(text, error);
  if (error || !parsed.is_object()) return Error(Errc::kInvalidArgument, "a reload is no JSON object");
  Reload out;
  if (const auto* list = parsed.get_object().if_contains("needs_restart"); list != nullptr && list->is_array())
    for (const json::value& name : list->get_array())
      if (name.is_string()) out.needs_restart.emplace_back(name.get_string());
  const auto* const changed = parsed.get_object().if_contains("changed");
  if (changed == nullptr || !changed->is_object()) return out;
  const json::object& fields = changed->get_object();
  if (const auto* level = fields.if_contains("log-level"); level != nullptr && level->is_string())
    out.log_level = std::string(level->get_string());
  if (const auto* most = fields.if_contains("max-connections"); most != nullptr && most->is_int64())
    out.max_connections = most->get_int64();
  if (const auto* grace = fields.if_contains("grace_ms"); grace != nullptr && grace->is_int64())
    out.grace = std::chrono::milliseconds(grace->get_int64());
  return out;
}

}  // namespace outlast::server
