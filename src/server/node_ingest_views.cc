// NodeIngest: what it says of itself, in the API, in metrics and in receipts.
#include <algorithm>
#include <boost/json/array.hpp>

#include "server/node_ingest.h"

namespace outlast::server {
namespace json = boost::json;

namespace {
json::object amount(const ingest::Amount& a) {
  return {{"records", a.records}, {"bytes", a.bytes}, {"chunks", a.chunks}};
}

json::object describe(const ingest::InputCounters& c) {
  return {{"records", c.records},
          {"bytes", c.bytes},
          {"refused", c.refused},
          {"unconfirmed", c.unconfirmed},
          {"limited", c.limited},
          {"cut", c.cut},
          {"malformed", c.malformed},
          {"disallowed", c.disallowed},
          {"kernel_drops", c.kernel_drops},
          {"queued", c.queued},
          {"order_breaks", c.order_breaks},
          {"waits", c.waits},
          {"connections", c.connections},
          {"connections_refused", c.connections_refused},
          {"longest_gap_ms", static_cast<double>(c.longest_gap_nanos) / 1e6},
          {"receive_buffer", c.receive_buffer}};
}
}  // namespace

json::object NodeIngest::status() const {
  json::array inputs, sinks;
  {
    const std::lock_guard lock(mutex_);
    for (const Reader& reader : readers_) {
      json::object one{{"name", reader.config.name},
                       {"socket", reader.socket},
                       {"tag", reader.config.tag},
                       {"reading", reader.input != nullptr},
                       {"closed", reader.input != nullptr && reader.input->is_closed()},
                       {"port", reader.input ? reader.input->port() : 0}};
      for (const auto& [key, value] : describe(reader.input ? reader.input->counters() : reader.ended))
        one[key] = value;
      if (reader.input && !reader.input->warning().empty()) one["warning"] = reader.input->warning();
      inputs.push_back(std::move(one));
    }
  }
  const ingest::PipelineStats all = pipeline_->stats();
  for (const ingest::SinkStats& sink : all.sinks)
    sinks.push_back(json::object{{"name", sink.name},
                                 {"held", amount(sink.buffer.held)},
                                 {"taken", amount(sink.buffer.taken)},
                                 {"written", amount(sink.written)},
                                 {"replayed", amount(sink.buffer.replayed)},
                                 {"source_only", amount(sink.buffer.source_only)},
                                 {"source_only_replayed", amount(sink.buffer.source_only_replayed)},
                                 {"oldest_ms", static_cast<double>(sink.buffer.oldest_nanos) / 1e6},
                                 {"dropped", amount(sink.buffer.dropped)},
                                 {"refused", amount(sink.buffer.refused)},
                                 {"set_aside", amount(sink.set_aside)},
                                 {"retries", sink.retries},
                                 {"full", sink.buffer.full},
                                 {"trouble", sink.buffer.trouble},
                                 {"last_error", sink.last_error}});
  json::array unclaimed;
  for (const ingest::UnclaimedBuffer& buffer : all.unclaimed)
    unclaimed.push_back(json::object{{"sink", buffer.sink}, {"path", buffer.path}, {"held", amount(buffer.held)}});
  return {{"source_only", source_only_.load()},
          {"inputs", std::move(inputs)},
          {"sinks", std::move(sinks)},
          {"unmatched", amount(all.unmatched)},
          {"unclaimed", std::move(unclaimed)}};
}

void NodeIngest::samples(std::vector<Sample>& out) const {
  const auto add = [&out](const char* name, const char* help, bool counter, std::uint64_t value, const char* of,
                          const std::string& which) {
    out.push_back({name, help, counter, static_cast<double>(value), {{of, which}}});
  };
  {
    const std::lock_guard lock(mutex_);
    for (const Reader& reader : readers_) {
      const ingest::InputCounters c = reader.input ? reader.input->counters() : reader.ended;
      const std::string& name = reader.config.name;
      add("outlast_ingest_records_total", "Records taken in", true, c.records, "input", name);
      add("outlast_ingest_kernel_drops_total", "Datagrams that the kernel dropped", true, c.kernel_drops, "input",
          name);
      add("outlast_ingest_refused_total", "Records refused because a buffer was full", true, c.refused, "input", name);
      add("outlast_ingest_connections", "Open connections of senders", false, c.connections, "input", name);
    }
  }
  for (const ingest::SinkStats& sink : pipeline_->stats().sinks) {
    add("outlast_ingest_stored_total", "Records that a sink has", true, sink.written.records, "sink", sink.name);
    add("outlast_ingest_held", "Records that wait for a sink", false, sink.buffer.held.records, "sink", sink.name);
    add("outlast_ingest_held_bytes", "Bytes that wait for a sink", false, sink.buffer.held.bytes, "sink", sink.name);
    add("outlast_ingest_dropped_total", "Records dropped by overflow_action", true, sink.buffer.dropped.records, "sink",
        sink.name);
    add("outlast_ingest_retries_total", "Writes of chunks that failed and came again", true, sink.retries, "sink",
        sink.name);
  }
}

json::object NodeIngest::handover_facts(std::uint64_t left_behind) const {
  std::uint64_t buffered = 0, drops = 0, gap = 0, queued = 0, order_breaks = 0;
  const std::lock_guard lock(mutex_);
  for (const Reader& reader : readers_) {
    if (!reader.input) continue;
    const ingest::InputCounters counters = reader.input->counters();
    buffered += counters.records;
    drops += counters.kernel_drops;
    queued += counters.queued;
    order_breaks += counters.order_breaks;
    gap = std::max(gap, counters.longest_gap_nanos);
  }
  return {{"taken_over", taken_over_},
          {"connections", connections_taken_},
          {"kernel_drops", drops + drops_before_},
          {"queued", queued},
          {"order_breaks", order_breaks},
          {"records_source_only", buffered},
          {"replayed", left_behind},
          {"longest_gap_ms", static_cast<double>(gap) / 1e6}};
}

}  // namespace outlast::server
