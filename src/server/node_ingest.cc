#include "server/node_ingest.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>

#include "server/ingest_sockets.h"
#include "server/table_sink.h"

namespace outlast::server {
namespace json = boost::json;
using ingest::InputConfig;
using ingest::InputKind;
using ingest::MovedConnection;

namespace {
/// A pipeline owns its sinks; one that stores in coroutines has to outlive them.
class SharedSink final : public ingest::Sink {
 public:
  explicit SharedSink(std::shared_ptr<TableSink> sink) : sink_(std::move(sink)) {}
  ~SharedSink() override { sink_->stop(); }
  void write(std::shared_ptr<const ingest::Chunk> chunk, Callback<void> done) override {
    sink_->write(std::move(chunk), std::move(done));
  }
  void stop() override { sink_->stop(); }

 private:
  const std::shared_ptr<TableSink> sink_;
};

ingest::InputType type_of(const InputConfig& config) {
  if (config.kind == InputKind::kHttp) return ingest::InputType::kHttp;
  if (config.kind == InputKind::kTcp || config.stream) return ingest::InputType::kTcp;
  return ingest::InputType::kUdp;
}

ingest::Framing framing_of(ingest::FramingKind kind) {
  switch (kind) {
    case ingest::FramingKind::kNewline:
      return ingest::Framing::kNewline;
    case ingest::FramingKind::kOctetCounted:
      return ingest::Framing::kOctetCounted;
    case ingest::FramingKind::kAuto:
      return ingest::Framing::kAuto;
  }
  return ingest::Framing::kAuto;
}

json::object amount(const ingest::Amount& a) {
  return {{"records", a.records}, {"bytes", a.bytes}, {"chunks", a.chunks}};
}

proto::HandoverMessage describe(const std::string& socket, const MovedConnection& connection) {
  proto::HandoverMessage message;
  proto::HandoverConnection& out = *message.mutable_connection();
  out.set_address(socket);
  out.set_peer(connection.peer);
  out.set_framing(static_cast<std::uint32_t>(connection.state.framing));
  out.set_phase(static_cast<std::uint32_t>(connection.state.phase));
  out.set_broken(connection.state.broken);
  out.set_left(connection.state.left);
  out.set_unfinished(connection.state.unfinished);
  return message;
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

NodeIngest::NodeIngest(std::map<std::string, int> sockets, Parts parts)
    : parts_(std::move(parts)), sockets_(std::move(sockets)) {}

NodeIngest::~NodeIngest() {
  if (pipeline_) (void)hand_over();  // there is none when open() failed
}

Result<std::unique_ptr<NodeIngest>> NodeIngest::open(ingest::IngestConfig config, std::map<std::string, int> sockets,
                                                     Parts parts) {
  std::unique_ptr<NodeIngest> made(new NodeIngest(std::move(sockets), std::move(parts)));
  ingest::PipelineOptions options;
  options.keep_path = made->parts_.store + "/ingest";
  options.seed = static_cast<std::uint64_t>(made->parts_.clock.wall_micros());
  ASSIGN_OR_RETURN(made->pipeline_, ingest::Pipeline::open(config, options, made->parts_.clock,
                                                           [&made = *made](const ingest::SinkConfig& sink,
                                                                           const ingest::Decoder& decoder) {
                                                             return made.make_table_sink(sink, decoder);
                                                           }));
  for (InputConfig& input : config.inputs) {
    std::string socket = socket_name(input);
    made->readers_.push_back({.config = std::move(input), .socket = std::move(socket), .input = nullptr});
  }
  return made;
}

Result<std::unique_ptr<ingest::Sink>> NodeIngest::make_table_sink(const ingest::SinkConfig& config,
                                                                  const ingest::Decoder& decoder) const {
  if (parts_.cluster == nullptr) return no_database(config);
  return std::unique_ptr<ingest::Sink>(std::make_unique<SharedSink>(
      std::make_shared<TableSink>(TableSinkOptions{.database = config.database, .table = config.table}, *parts_.cluster,
                                  decoder, parts_.executor)));
}

NodeIngest::Reader* NodeIngest::find(const std::string& socket) {
  const auto it = std::ranges::find(readers_, socket, &Reader::socket);
  return it == readers_.end() ? nullptr : &*it;
}

void NodeIngest::start(Reader& reader, Instant read_since) {
  const InputConfig& config = reader.config;
  ingest::InputOptions options;
  options.name = config.name;
  options.tag = config.tag;
  options.ack = config.ack;
  options.message_size_max = config.message_bytes_max;
  options.rate_max = config.rate_max;
  options.framing = framing_of(config.framing);
  options.read_since = read_since;
  auto allow = ingest::AllowList::parse(config.allow);
  if (!allow.ok()) return spdlog::error("input {}: {}", config.name, allow.error().message);
  options.allow = *std::move(allow);
  if (const auto given = sockets_.find(reader.socket); given != sockets_.end()) {
    options.socket = fcntl(given->second, F_DUPFD_CLOEXEC, 0);
  } else {
    auto address = ingest::ListenAddress::parse(reader.socket);
    if (!address.ok()) return spdlog::error("input {}: {}", config.name, address.error().message);
    options.listen = *std::move(address);
  }
  auto input = ingest::make_input(type_of(config), std::move(options), *pipeline_);
  if (auto started = input->start(); !started.ok())
    return spdlog::error("input {}: {}", config.name, started.error().message);
  if (const std::string warning = input->warning(); !warning.empty())
    spdlog::warn("input {}: {}", config.name, warning);
  const std::lock_guard lock(mutex_);
  reader.input = std::move(input);
}

void NodeIngest::read() {
  for (Reader& reader : readers_)
    if (!reader.input) start(reader, {});
}

void NodeIngest::read(const proto::HandoverInput& from) {
  Reader* const reader = find(from.address());
  if (reader == nullptr || reader->input) return;  // the new configuration does not have it
  ++taken_over_;
  drops_before_ += from.kernel_drops();
  if (!from.held().empty())
    if (auto held = ingest::RecordBatch::from(from.held()); held.ok()) put_held(*reader, *std::move(held));
  start(*reader, Instant(Duration(from.read_until_ns())));
}

/// What was read and could not be put: by the old worker, before anything is read here on buffers that have just been
/// opened; or here, at the end.
void NodeIngest::put_held(const Reader& reader, ingest::RecordBatch held) {
  const auto put = pipeline_->put(reader.config.tag, held, ingest::Ack::kReceived, [](const Result<void>&) {});
  if (put != ingest::Intake::Taken::kYes)
    spdlog::error("input {}: {} records that had been read found no room", reader.config.name, held.records());
}

void NodeIngest::adopt(const proto::HandoverConnection& connection, int fd) {
  Reader* const reader = find(connection.address());
  if (reader == nullptr) return void(close(fd));
  if (!reader->input) start(*reader, {});
  if (!reader->input) return void(close(fd));
  MovedConnection moved;
  moved.fd = ingest::Fd(fd);
  moved.peer = connection.peer();
  moved.state.framing = static_cast<ingest::Framing>(connection.framing());
  moved.state.phase = static_cast<ingest::FramingState::Phase>(connection.phase());
  moved.state.broken = connection.broken();
  moved.state.left = connection.left();
  moved.state.unfinished = connection.unfinished();
  ++connections_taken_;
  reader->input->adopt(std::move(moved));
}

void NodeIngest::release(const Send& send) {
  for (Reader& reader : readers_) {
    if (!reader.input) continue;
    std::vector<MovedConnection> connections = reader.input->release_connections(
        [this, &reader, send](MovedConnection late) { give(reader, std::move(late), send); });
    // HTTP has requests to answer: it is waited for in the end. It has nothing to report.
    const bool answers = reader.config.kind == InputKind::kHttp;
    ingest::StopReport report;
    if (!answers) report = reader.input->stop();
    if (answers) report.records = reader.input->counters().records;
    proto::HandoverMessage ended;
    ended.mutable_input()->set_address(reader.socket);
    ended.mutable_input()->set_records(report.records);
    ended.mutable_input()->set_kernel_drops(report.kernel_drops);
    ended.mutable_input()->set_read_until_ns(report.read_until.time_since_epoch().count());
    if (!report.held.empty()) ended.mutable_input()->set_held(report.held.data());
    send(ended, -1);
    for (MovedConnection& one : connections) send(describe(reader.socket, one), one.fd.release());
    const std::lock_guard lock(mutex_);
    reader.ended = reader.input->counters();
    if (answers)
      reader.leaving.push_back(std::move(reader.input));
    else
      reader.input.reset();
  }
}

/// On the thread of an input that has been released.
void NodeIngest::give(Reader& reader, MovedConnection connection, const Send& send) {
  {
    const std::lock_guard lock(mutex_);
    if (reader.input) return reader.input->adopt(std::move(connection));  // taken back
  }
  send(describe(reader.socket, connection), connection.fd.release());
}

void NodeIngest::end_readers() {
  for (Reader& reader : readers_) {
    for (const auto& input : reader.leaving) input->stop();
    if (!reader.input) continue;
    ingest::StopReport report = reader.input->stop();
    if (!report.held.empty()) put_held(reader, std::move(report.held));
    const std::lock_guard lock(mutex_);
    reader.ended = reader.input->counters();
    reader.input.reset();
  }
}

void NodeIngest::start_sinks() {
  const std::lock_guard lock(ending_);
  if (!ended_ && source_only_.exchange(false)) pipeline_->start_sinks();
}

/// True the first time.
bool NodeIngest::end() {
  end_readers();
  const std::lock_guard lock(ending_);
  return !std::exchange(ended_, true);
}

std::uint64_t NodeIngest::hand_over() {
  if (!end()) return 0;
  const ingest::LeftBehind left = pipeline_->hand_over();
  if (left.lost.records > 0) spdlog::error("ingest: {} records could be kept nowhere", left.lost.records);
  return left.kept.records;
}

void NodeIngest::stop() {
  if (!end()) return;
  const ingest::LeftBehind left = pipeline_->stop();
  if (left.kept.records > 0) spdlog::info("ingest: {} records are kept for the next start", left.kept.records);
  if (left.lost.records > 0) spdlog::error("ingest: {} records could be kept nowhere", left.lost.records);
}

json::object NodeIngest::status() const {
  json::array inputs, sinks;
  {
    const std::lock_guard lock(mutex_);
    for (const Reader& reader : readers_) {
      json::object one{{"name", reader.config.name},
                       {"socket", reader.socket},
                       {"tag", reader.config.tag},
                       {"reading", reader.input != nullptr},
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
