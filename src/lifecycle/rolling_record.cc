// The record of a rolling restart: JSON, and what operators and their command lines write.
#include "lifecycle/rolling_record.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "lifecycle/record_reader.h"

namespace outlast::lifecycle {
namespace {
namespace json = boost::json;

constexpr std::array<std::string_view, 10> kSteps{"pending",   "draining",    "command", "running", "restarting",
                                                  "returning", "backing-out", "failed",  "done",    "skipped"};

Error unreadable(const std::string& why) {
  return {Errc::kCorrupt, "the record of the rolling restart is unreadable: " + why};
}

json::object to_json(const RollingWindow& window) {
  return {{"statements", window.statements},
          {"per_second", window.per_second},
          {"errors", window.errors},
          {"p50_ms", window.p50_ms},
          {"p99_ms", window.p99_ms},
          {"p999_ms", window.p999_ms},
          {"worse", window.worse}};
}

json::object to_json(const RollingRecord::Node& node) {
  json::object out{{"node", node.node.value},
                   {"step", to_string(node.step)},
                   {"batch", node.batch},
                   {"before", node.before.value},
                   {"restart", node.restart},
                   {"leases", node.leases},
                   {"insync", node.insync},
                   {"began_micros", node.began_micros},
                   {"ended_micros", node.ended_micros},
                   {"note", node.note}};
  if (node.claim) out["claim"] = json::object{{"token", node.claim->token}, {"beat", node.claim->beat}};
  return out;
}

Result<RollingWindow> read_window(const json::value& value) {
  if (!value.is_object()) return unreadable("a window is not a JSON object");
  RecordReader read(value.get_object());
  RollingWindow window;
  window.statements = read.number<double>("statements");
  window.per_second = read.number<double>("per_second");
  window.errors = read.number<double>("errors");
  window.p50_ms = read.number<double>("p50_ms");
  window.p99_ms = read.number<double>("p99_ms");
  window.p999_ms = read.number<double>("p999_ms");
  window.worse = read.flag("worse");
  if (!read.wrong.empty()) return unreadable("field '" + read.wrong + "' of a window is missing or wrong");
  return window;
}

Result<RollingRecord::Node> read_node(const json::value& value) {
  if (!value.is_object()) return unreadable("a node is not a JSON object");
  RecordReader read(value.get_object());
  RollingRecord::Node node;
  node.node = NodeId(read.number<std::uint32_t>("node"));
  const auto step = std::ranges::find(kSteps, read.text("step"));
  if (step == kSteps.end()) read.fail("step");
  node.step = static_cast<RollingStep>(step - kSteps.begin());
  node.batch = read.number<std::uint32_t>("batch");
  node.before = Incarnation(read.number<std::uint64_t>("before"));
  node.restart = read.number<std::uint64_t>("restart");
  node.leases = read.number<std::uint64_t>("leases");
  node.insync = read.number<std::uint64_t>("insync");
  node.began_micros = read.number<std::int64_t>("began_micros");
  node.ended_micros = read.number<std::int64_t>("ended_micros");
  node.note = read.text("note");
  if (const auto* claim = value.get_object().if_contains("claim"); claim != nullptr && claim->is_object()) {
    RecordReader fields(claim->get_object());
    node.claim = RollingRecord::Claim{fields.text("token"), fields.number<std::uint64_t>("beat")};
    if (!fields.wrong.empty()) read.fail("claim");
  }
  if (!read.wrong.empty()) return unreadable("field '" + read.wrong + "' of a node is missing or wrong");
  return node;
}

RollingOptions read_options(RecordReader& read) {
  RollingOptions options;
  options.batch = read.number<std::uint32_t>("batch");
  options.command = read.text("command");
  options.max_p99_ratio = read.number<double>("max_p99_ratio");
  options.windows = read.number<std::uint32_t>("windows_in_a_row");
  options.window = std::chrono::milliseconds(read.number<std::int64_t>("window_ms"));
  return options;
}

Result<void> read_lists(const json::object& object, RollingRecord& record) {
  const auto* nodes = object.if_contains("nodes");
  const auto* windows = object.if_contains("windows");
  if (nodes == nullptr || !nodes->is_array()) return unreadable("field 'nodes' is missing or wrong");
  if (windows == nullptr || !windows->is_array()) return unreadable("field 'windows' is missing or wrong");
  for (const json::value& each : nodes->get_array()) {
    ASSIGN_OR_RETURN(RollingRecord::Node node, read_node(each));
    record.nodes.push_back(std::move(node));
  }
  for (const json::value& each : windows->get_array()) {
    ASSIGN_OR_RETURN(const RollingWindow window, read_window(each));
    record.windows.push_back(window);
  }
  if (const auto* baseline = object.if_contains("baseline"); baseline != nullptr) {
    ASSIGN_OR_RETURN(record.baseline, read_window(*baseline));
  }
  return {};
}

Result<RollingRecord::Node*> with_command(RollingRecord& record, NodeId id) {
  RollingRecord::Node* node = record.find(id);
  const std::string name = "node " + id.to_string();
  if (node == nullptr) return Error(Errc::kNotFound, name + " is not in this rolling restart");
  if (node->step != RollingStep::kCommand && node->step != RollingStep::kRunning)
    return Error(Errc::kInvalidState, name + " does not wait for a command, its step is " +
                                          std::string(to_string(node->step)) + ": nothing is to be run for it now");
  return node;
}

}  // namespace

std::string_view to_string(RollingStep step) {
  return kSteps.at(static_cast<std::size_t>(step));
}

bool RollingRecord::Node::under_way() const {
  return step != RollingStep::kPending && step != RollingStep::kDone && step != RollingStep::kSkipped;
}

const RollingRecord::Node* RollingRecord::find(NodeId node) const {
  const auto it = std::ranges::find(nodes, node, &Node::node);
  return it == nodes.end() ? nullptr : &*it;
}
RollingRecord::Node* RollingRecord::find(NodeId node) {
  const auto it = std::ranges::find(nodes, node, &Node::node);
  return it == nodes.end() ? nullptr : &*it;
}

bool RollingRecord::over() const {
  return std::ranges::all_of(
      nodes, [](const Node& node) { return node.step == RollingStep::kDone || node.step == RollingStep::kSkipped; });
}

std::string encode(const RollingRecord& record) {
  json::array nodes, windows;
  for (const RollingRecord::Node& node : record.nodes) nodes.push_back(to_json(node));
  for (const RollingWindow& window : record.windows) windows.push_back(to_json(window));
  json::object out{{"version", record.version},
                   {"batch", record.options.batch},
                   {"command", record.options.command},
                   {"max_p99_ratio", record.options.max_p99_ratio},
                   {"windows_in_a_row", record.options.windows},
                   {"window_ms", record.options.window / std::chrono::milliseconds(1)},
                   {"batches", record.batches},
                   {"worse_in_a_row", record.worse_in_a_row},
                   {"worst_p99_ms", record.worst_p99_ms},
                   {"errors", record.errors},
                   {"paused_why", record.paused_why},
                   {"aborted", record.aborted},
                   {"nodes", std::move(nodes)},
                   {"windows", std::move(windows)}};
  if (record.baseline) out["baseline"] = to_json(*record.baseline);
  return json::serialize(out);
}

Result<RollingRecord> decode_rolling_record(std::string_view text) {
  boost::system::error_code problem;
  const json::value value = json::parse(text, problem);
  if (problem || !value.is_object()) return unreadable("it is not a JSON object");
  RecordReader read(value.get_object());
  RollingRecord record;
  record.version = read.number<std::uint64_t>("version");
  record.options = read_options(read);
  record.batches = read.number<std::uint32_t>("batches");
  record.worse_in_a_row = read.number<std::uint32_t>("worse_in_a_row");
  record.worst_p99_ms = read.number<double>("worst_p99_ms");
  record.errors = read.number<double>("errors");
  record.paused_why = read.text("paused_why");
  record.aborted = read.flag("aborted");
  if (!read.wrong.empty()) return unreadable("field '" + read.wrong + "' is missing or wrong");
  TRY(read_lists(value.get_object(), record));
  return record;
}

Result<std::string> ask_to_abort(std::string_view body) {
  ASSIGN_OR_RETURN(RollingRecord record, decode_rolling_record(body));
  if (record.aborted) return std::string(body);
  record.aborted = true;
  ++record.version;
  return encode(record);
}

Result<RollingRecord> claim_command(const RollingRecord& now, NodeId node, const std::string& token,
                                    std::uint64_t beat) {
  RollingRecord next = now;
  ASSIGN_OR_RETURN(RollingRecord::Node * found, with_command(next, node));
  if (found->claim && found->claim->token != token)
    return Error(Errc::kInvalidState, "another command line has taken node " + node.to_string() +
                                          " in hand; it is waited for while it is alive");
  found->claim = RollingRecord::Claim{token, beat};
  if (next != now) ++next.version;
  return next;
}

Result<RollingRecord> report_command(const RollingRecord& now, NodeId node, const std::string& token, int exit,
                                     const std::string& last_words) {
  RollingRecord next = now;
  const RollingRecord::Node* said = now.find(node);
  // The answer to an earlier report was lost.
  if (said != nullptr && said->claim && said->claim->token == token && said->step != RollingStep::kCommand &&
      said->step != RollingStep::kRunning)
    return next;
  ASSIGN_OR_RETURN(RollingRecord::Node * found, with_command(next, node));
  if (!found->claim || found->claim->token != token)
    return Error(Errc::kInvalidState, "node " + node.to_string() +
                                          " was taken from this command line, which was silent for too long: what "
                                          "the command did is not known, and it is run again");
  found->step = exit == 0 ? RollingStep::kReturning : RollingStep::kFailed;
  found->note =
      exit == 0 ? "" : "the command ended with " + std::to_string(exit) + (last_words.empty() ? "" : ": " + last_words);
  ++next.version;
  return next;
}

}  // namespace outlast::lifecycle
