#include "server/drain_receipt.h"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>
#include <iterator>

#include "server/json_views.h"
#include "server/node_file.h"

namespace outlast::server {
namespace json = boost::json;

namespace {
std::string path_in(const std::string& store) {
  return store + "/DRAIN.json";
}

json::array phases(const proto::DrainStatus& drain) {
  json::array out;
  for (const auto& one : drain.phases())
    out.push_back(json::object{{"phase", one.phase()}, {"lasted_ms", one.lasted_ms()}});
  return out;
}
json::array targets(const proto::DrainStatus& drain) {
  json::array out;
  for (const auto& one : drain.moved_to()) out.push_back(json::object{{"node", one.node()}, {"leases", one.leases()}});
  return out;
}
json::object ledger(const proto::DrainStatus::Ledger& l) {
  return {{"done", l.done()},
          {"failed", l.failed()},
          {"cancelled", l.cancelled()},
          {"unknown", l.unknown()},
          {"refused", l.refused()}};
}
/// Null: nobody had to, the process does not end.
json::value acknowledged(const proto::DrainStatus& d) {
  if (d.acknowledged_by() != 0)
    return json::object{{"by", d.acknowledged_by()}, {"after_ms", d.acknowledged_ms()}, {"why_not", nullptr}};
  if (d.not_acknowledged().empty()) return nullptr;
  return json::object{{"by", nullptr}, {"after_ms", nullptr}, {"why_not", d.not_acknowledged()}};
}
json::array blocking(const proto::DrainStatus& drain) {
  json::array out;
  for (const auto& one : drain.blocking())
    out.push_back(
        json::object{{"kind", one.kind()}, {"name", one.name()}, {"why", one.why()}, {"age_ms", one.age_ms()}});
  return out;
}
}  // namespace

std::string read_receipt(const std::string& store) {
  std::ifstream in(path_in(store));
  std::string text;
  std::getline(in, text);
  return text;
}

Result<void> write_receipt(const std::string& store, const json::object& receipt) {
  return replace_file(path_in(store), json::serialize(receipt));
}

json::object to_json(const proto::DrainStatus::Remaining& r) {
  return {{"connections", r.connections()},
          {"transactions", r.transactions()},
          {"foreign_transactions", r.foreign_transactions()},
          {"foreign_statements", r.foreign_statements()},
          {"leases", r.leases()},
          {"unmovable_leases", r.unmovable_leases()},
          {"insync_replicas", r.insync()},
          {"leader_frontend", r.office()},
          {"loads", r.loads()},
          {"jobs", r.jobs()},
          {"inputs", r.inputs()},
          {"buffer_bytes", r.buffer_bytes()},
          {"total", r.total()}};
}

json::object to_json(const proto::DrainStatus& d) {
  json::array warnings;
  for (const std::string& warning : d.warnings()) warnings.push_back(json::string(warning));
  json::object out{
      {"node", d.node()},
      {"incarnation", d.incarnation()},
      {"phase", d.phase()},
      {"end", d.end()},
      {"is_draining", d.phase() != "serving"},
      {"blocker", d.blocker()},
      {"by", d.by()},
      {"force", d.force()},
      {"leave", d.leave()},
      {"stopping", d.stopping()},
      {"since", d.since_micros() == 0 ? json::value(nullptr) : json::value(time_text(d.since_micros()))},
      {"elapsed_ms", d.elapsed_ms()},
      {"deadline_ms", d.deadline_ms() == 0 ? json::value(nullptr) : json::value(d.deadline_ms())},
      {"settings_sum_ms", d.settings_sum_ms()},
      {"phases", phases(d)},
      {"remaining", to_json(d.remaining())},
      {"at_start", to_json(d.at_start())},
      {"per_second", d.per_second()},
      {"eta_ms", d.eta_ms() < 0 ? json::value(nullptr) : json::value(d.eta_ms())},
      {"rehearsal", d.rehearsal()},
      {"leases_left_ms", d.leases_left_ms() == 0 ? json::value(nullptr) : json::value(d.leases_left_ms())},
      {"inputs_closed_ms", d.inputs_closed_ms() == 0 ? json::value(nullptr) : json::value(d.inputs_closed_ms())},
      {"buffers_flushed_ms", d.buffers_flushed_ms() == 0 ? json::value(nullptr) : json::value(d.buffers_flushed_ms())},
      {"leases_moved", d.leases_moved()},
      {"lease_moves_failed", d.lease_moves_failed()},
      {"moved_to", targets(d)},
      {"connections_closed", json::object{{"at_safe_points", d.sessions_shed()}, {"cut", d.sessions_cut()}}},
      {"connections_refused", d.sessions_refused()},
      {"plan", d.plan()},
      {"acknowledged", acknowledged(d)},
      {"statements", ledger(d.ledger())},
      {"fragments", ledger(d.fragments())},
      {"loads", ledger(d.loads())},
      {"jobs", ledger(d.jobs())},
      {"blocking", blocking(d)},
      {"warnings", std::move(warnings)},
      {"metadata", d.metadata()}};
  if (d.last_receipt().empty()) return out;
  boost::system::error_code problem;
  json::value last = json::parse(d.last_receipt(), problem);
  out["last_receipt"] = problem ? json::value(nullptr) : std::move(last);
  return out;
}

}  // namespace outlast::server
