// Tasks and pre-flights as JSON.
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>

#include "server/json_views.h"

namespace outlast::server {
namespace json = boost::json;

namespace {

template <class List>
json::array listed(const List& list) {
  json::array out;
  for (const auto& each : list) out.push_back(json::value(each));
  return out;
}

json::object to_json(const proto::TaskStatus::Node& n) {
  return {{"id", n.node()},
          {"stage", n.stage()},
          {"is_live", n.is_live()},
          {"replicas", n.replicas()},
          {"bytes", n.bytes()},
          {"is_decommissioning", n.membership() != "active"},
          {"membership", n.membership()},
          {"is_draining", n.is_draining()},
          {"in_absentia", n.in_absentia()},
          {"possible_loss_bytes", n.possible_loss_bytes()},
          {"replicas_at_start", n.replicas_at_start()},
          {"bytes_at_start", n.bytes_at_start()},
          {"waits_for", n.blocker()}};
}

json::value detail_of(const std::string& text) {
  boost::system::error_code problem;
  json::value value = text.empty() ? json::value(nullptr) : json::parse(text, problem);
  return problem ? json::value(text) : value;
}

void add_progress(json::object& out, const proto::TaskStatus& t) {
  out["replicas_left"] = t.replicas_left();
  out["bytes_left"] = t.bytes_left();
  out["bytes_at_start"] = t.bytes_at_start();
  out["bytes_per_second"] = t.bytes_per_second();
  out["eta_ms"] = t.eta_ms() < 0 ? json::value(nullptr) : json::value(t.eta_ms());
  out["eta_at_least_ms"] = t.eta_at_least_ms();
  out["bottleneck"] = t.bottleneck();
  out["bottleneck_node"] = t.bottleneck_node();
  out["stall"] = nullptr;
  if (!t.stall().reason().empty())
    out["stall"] =
        json::object{{"reason", t.stall().reason()}, {"why", t.stall().why()}, {"ranges", listed(t.stall().ranges())}};
}

}  // namespace

json::object to_json(const proto::TaskStatus& t) {
  json::array nodes;
  for (const auto& node : t.nodes()) nodes.push_back(to_json(node));
  json::object out{{"id", t.id()},
                   {"kind", t.kind()},
                   {"state", t.state()},
                   {"stage", t.stage()},
                   {"by", t.by()},
                   {"started_at", time_text(t.started_micros())},
                   {"ended_at", nullptr},
                   {"owner", t.owner()},
                   {"outcome", t.outcome()},
                   {"has_progress", t.has_progress()},
                   {"nodes", std::move(nodes)}};
  if (t.ended_micros() != 0) out["ended_at"] = time_text(t.ended_micros());
  if (t.has_progress()) add_progress(out, t);
  out["detail"] = detail_of(t.detail());
  return out;
}

json::object to_json(const proto::Preflight& p) {
  json::array nodes, groups;
  for (const auto& n : p.nodes())
    nodes.push_back(json::object{{"id", n.node()},
                                 {"readiness", n.readiness()},
                                 {"replicas", n.replicas()},
                                 {"blocking_ranges", n.blocking_ranges()}});
  for (const auto& g : p.groups())
    groups.push_back(json::object{
        {"node", g.node()}, {"error", g.error()}, {"replicas", g.replicas()}, {"ranges", listed(g.ranges())}});
  return {{"may_begin", p.may_begin()},
          {"checks", p.checks()},
          {"ranges_checked", p.ranges_checked()},
          {"nodes", std::move(nodes)},
          {"blocked", std::move(groups)},
          {"unavailable", listed(p.unavailable())},
          {"under_replicated", listed(p.under_replicated())},
          {"warnings", listed(p.warnings())},
          {"fix", p.fix()},
          {"bytes", p.bytes()},
          {"moves", p.moves()},
          {"reductions", p.reductions()}};
}

}  // namespace outlast::server
