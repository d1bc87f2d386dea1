// NodeIngest: what it still holds, and why, for a node that leaves.
#include <algorithm>

#include "base/parse.h"
#include "server/node_ingest.h"

namespace outlast::server {
namespace {
using ingest::Amount;

std::string amount(const Amount& a) {
  return std::to_string(a.records) + (a.records == 1 ? " record (" : " records (") + format_bytes(a.bytes) + ")";
}

std::string why_open(const ingest::InputCounters& counted, bool leaving) {
  if (!leaving) return "it takes records until the drain refuses new connections";
  if (counted.connections == 0) return "what it has read finds no room in the buffers of its sinks";
  return std::to_string(counted.connections) +
         (counted.connections == 1 ? " sender is connected; it has" : " senders are connected; they have") +
         " been told, and may end what they are at";
}

std::string why_held(const ingest::SinkStats& sink, bool source_only) {
  if (source_only) return "the sinks are not started: end source-only (SIGWINCH to the supervisor)";
  if (sink.looks) return "it is being looked through for what earlier processes left";
  Amount all = sink.buffer.held;
  all.add(sink.buffer.parked.records, sink.buffer.parked.bytes);
  if (sink.failures > 0) return amount(all) + " wait: the sink does not take them: " + sink.last_error;
  if (!sink.buffer.trouble.empty()) return amount(all) + " wait: the buffer cannot write: " + sink.buffer.trouble;
  return amount(all) + " are on their way to the sink";
}
}  // namespace

bool NodeIngest::is_open(const Reader& reader) const {
  if (reader.input && !reader.input->is_closed()) return true;
  return std::ranges::any_of(reader.leaving, [](const auto& input) { return input->counters().connections > 0; });
}

NodeIngest::Load NodeIngest::load() const {
  Load out;
  {
    const std::lock_guard lock(mutex_);
    out.inputs = readers_.size();
    for (const Reader& reader : readers_) {
      if (!is_open(reader)) continue;
      ++out.inputs_open;
      const ingest::InputCounters counted = reader.input ? reader.input->counters() : reader.ended;
      out.waits.push_back({"input", "input " + reader.config.name, why_open(counted, leaving_)});
    }
  }
  const ingest::PipelineStats all = pipeline_->stats();
  for (const ingest::SinkStats& sink : all.sinks) {
    out.buffer_bytes += sink.bytes_left();
    if (sink.set_aside.records > 0)
      out.left_behind.push_back(amount(sink.set_aside) + " that the sink " + sink.name +
                                " refused lie in its secondary files and do not leave this node");
    if (sink.is_empty()) continue;
    ++out.buffers;
    out.waits.push_back({"buffer", "the buffer of sink " + sink.name, why_held(sink, source_only_)});
  }
  for (const ingest::UnclaimedBuffer& one : all.unclaimed)
    out.left_behind.push_back(one.path + " holds " + amount(one.held) + " of the sink " + one.sink +
                              ", which is not configured any more: they do not leave this node");
  return out;
}

}  // namespace outlast::server
