#include "server/json_views.h"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <ctime>
#include <sstream>

namespace outlast::server {
namespace json = boost::json;

namespace {
template <class List>
json::array numbers(const List& list) {
  json::array out;
  for (const auto n : list) out.push_back(json::value(n));
  return out;
}
/// A record as stored; text that is no JSON stays text.
json::value stored(const std::string& text) {
  if (text.empty()) return nullptr;
  boost::system::error_code problem;
  json::value value = json::parse(text, problem);
  return problem ? json::value(text) : value;
}
/// 0 stands for "not".
json::value time_or_null(std::int64_t micros) {
  if (micros == 0) return nullptr;
  return json::value(time_text(micros));
}
}  // namespace

std::string time_text(std::int64_t micros) {
  const std::time_t seconds = micros / 1'000'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc);
  return text;
}

json::object to_json(const proto::NodeStatus& n) {
  json::array roles;
  std::istringstream words(n.roles());
  for (std::string role; std::getline(words, role, ',');) roles.emplace_back(role);
  return {{"id", n.id()},
          {"address", n.address()},
          {"sql_address", n.sql_address()},
          {"http_address", n.http_address()},
          {"build", n.build()},
          {"started_at", time_text(n.started_at_micros())},
          {"updated_at", time_text(n.updated_at_micros())},
          {"locality", n.locality()},
          {"is_available", n.is_available()},
          {"is_live", n.is_live()},
          {"liveness", n.liveness()},
          {"incarnation", n.incarnation()},
          {"membership", n.membership()},
          {"is_draining", n.is_draining()},
          {"is_decommissioning", n.is_decommissioning()},
          {"replicas", n.replicas()},
          {"gossiped_replicas", n.replicas()},
          {"leases", n.leases()},
          {"bytes", n.bytes()},
          {"disk_capacity", n.disk_capacity()},
          {"disk_available", n.disk_available()},
          {"buffer_bytes", n.buffer_bytes()},
          {"readiness", n.readiness()},
          {"blocking_ranges", n.blocking_ranges()},
          {"maintenance_until", time_or_null(n.maintenance_until_micros())},
          {"is_fenced_for_good", n.is_fenced_for_good()},
          {"is_leader_frontend", n.is_leader_frontend()},
          {"roles", std::move(roles)},
          {"status_code", n.status_code()},
          {"err_msg", n.err_msg()},
          {"last_heartbeat", time_or_null(n.last_heartbeat_micros())},
          {"running_queries", n.has_running_queries() ? json::value(n.running_queries()) : json::value(nullptr)},
          {"store_failure", n.store_failure()}};
}

json::object to_json(const proto::RangeStatus& r) {
  json::object out{{"id", r.range()},
                   {"database", r.database()},
                   {"table", r.table()},
                   {"partition", r.partition()},
                   {"epoch", r.epoch()},
                   {"cfg", r.cfg()},
                   {"leaseholder", r.leaseholder()},
                   {"leaseholder_incarnation", r.leaseholder_incarnation()},
                   {"insync", numbers(r.insync())},
                   {"learners", numbers(r.learners())},
                   {"removed", numbers(r.removed())},
                   {"rf", r.rf()},
                   {"min_insync", r.min_insync()},
                   {"clean", r.clean()},
                   {"durable_lsn", nullptr},
                   {"size_bytes", nullptr},
                   {"trouble", r.trouble()}};
  if (r.has_state()) {
    out["durable_lsn"] = r.durable_lsn();
    out["size_bytes"] = r.size_bytes();
  }
  return out;
}

json::object to_json(const proto::ReplicaState& s) {
  return {{"node", s.node()},
          {"replica", s.replica()},
          {"store", s.store()},
          {"role", s.role()},
          {"trouble", s.trouble()},
          {"damaged", s.damaged()},
          {"log_start_lsn", s.start_lsn()},
          {"log_end_lsn", s.end_lsn()},
          {"log_end_epoch", s.end_epoch()},
          {"synced_lsn", s.synced_lsn()},
          {"durable_lsn", s.durable_lsn()},
          {"applied_lsn", s.applied_lsn()},
          {"log_bytes", s.log_bytes()},
          {"size_bytes", s.file_bytes()},
          {"accepted", stored(s.accepted())},
          {"record_epoch", s.record_epoch()},
          {"record_cfg", s.record_cfg()},
          {"changing", s.changing()}};
}

json::object to_json(const proto::RangeReply& reply) {
  json::object out = to_json(reply.status());
  json::array replicas, silent;
  for (const proto::ReplicaState& state : reply.replicas()) replicas.push_back(to_json(state));
  for (const proto::NodeAnswer& answer : reply.silent())
    silent.push_back(json::object{{"node", answer.node()}, {"error", answer.error()}});
  out["replicas"] = std::move(replicas);
  out["silent"] = std::move(silent);
  out["record"] = stored(reply.record());
  return out;
}

}  // namespace outlast::server
