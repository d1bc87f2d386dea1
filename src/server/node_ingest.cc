#include "server/node_ingest.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>

#include "server/ingest_sockets.h"
#include "server/table_sink.h"

namespace outlast::server {
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

void NodeIngest::start(Reader& reader, Instant read_since, ingest::RecordBatch held) {
  const InputConfig& config = reader.config;
  ingest::InputOptions options;
  options.name = config.name;
  options.tag = config.tag;
  options.ack = config.ack;
  options.message_size_max = config.message_bytes_max;
  options.rate_max = config.rate_max;
  options.framing = framing_of(config.framing);
  options.read_since = read_since;
  options.held = std::move(held);
  options.closed = leaving_;
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
    if (!reader.input) start(reader, {}, std::exchange(reader.held, {}));
}

void NodeIngest::read(const proto::HandoverInput& from) {
  Reader* const reader = find(from.address());
  if (reader == nullptr || reader->input) return;  // the new configuration does not have it
  ++taken_over_;
  if (from.closed() && !leaving_.exchange(true)) pipeline_->hurry(true);
  drops_before_ += from.kernel_drops();
  auto held = ingest::RecordBatch::from(from.held());
  if (!held.ok()) spdlog::error("input {}: {}", reader->config.name, held.error().message);
  start(*reader, Instant(Duration(from.read_until_ns())), held.ok() ? *std::move(held) : ingest::RecordBatch());
}

/// What was read and could not be put, at the end.
void NodeIngest::put_held(const Reader& reader, ingest::RecordBatch held) {
  const auto put = pipeline_->put(reader.config.tag, held, ingest::Ack::kReceived, [](const Result<void>&) {});
  if (put != ingest::Intake::Taken::kYes)
    spdlog::error("input {}: {} records that had been read found no room", reader.config.name, held.records());
}

void NodeIngest::adopt(const proto::HandoverConnection& connection, int fd) {
  Reader* const reader = find(connection.address());
  if (reader == nullptr) return void(close(fd));
  if (!reader->input) start(*reader, {}, {});
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
    ended.mutable_input()->set_closed(leaving_);
    if (!report.held.empty()) ended.mutable_input()->set_held(report.held.data());
    reader.held = std::move(report.held);
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

void NodeIngest::take_back() {
  read();
  if (leaving_) pipeline_->hurry(true);  // what the other worker left is looked for
}

/// On the thread of an input that has been released.
void NodeIngest::give(Reader& reader, MovedConnection connection, const Send& send) {
  {
    const std::lock_guard lock(mutex_);
    if (reader.input) return reader.input->adopt(std::move(connection));  // taken back
  }
  send(describe(reader.socket, connection), connection.fd.release());
}

void NodeIngest::leave() {
  if (leaving_.exchange(true)) return;
  const std::lock_guard lock(mutex_);
  for (const Reader& reader : readers_)
    if (reader.input) reader.input->close();
  pipeline_->hurry(true);
}

void NodeIngest::stay() {
  if (!leaving_.exchange(false)) return;
  const std::lock_guard lock(mutex_);
  for (const Reader& reader : readers_)
    if (reader.input) reader.input->reopen();
  pipeline_->hurry(false);
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

}  // namespace outlast::server
