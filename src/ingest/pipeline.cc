#include "ingest/pipeline.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <random>
#include <utility>

#include "ingest/sink/file_sink.h"
#include "ingest/sink/forward_sink.h"
#include "ingest/sink/stdout_sink.h"

namespace outlast::ingest {
namespace {

/// Tells the sender once all sinks have said what became of its batch.
class Together {
 public:
  Together(Callback<void> done, std::size_t parts) : done_(std::move(done)), left_(parts) {}
  void part(Result<void> how) {
    std::unique_lock lock(mutex_);
    if (!how.ok() && result_.ok()) result_ = std::move(how);
    if (--left_ > 0) return;
    lock.unlock();
    if (done_) done_(std::move(result_));
  }

 private:
  std::mutex mutex_;
  Callback<void> done_;
  std::size_t left_;
  Result<void> result_;
};

/// Thousands of nodes may start in the same second.
std::uint64_t fresh_writer(const Clock& clock) {
  constexpr int kRandomBits = 12;
  const auto micros = static_cast<std::uint64_t>(clock.wall_micros());
  return micros << kRandomBits | (std::random_device{}() & ((1U << kRandomBits) - 1));
}

void add(Amount& to, const Amount& more) {
  to.add(more.records, more.bytes, more.chunks);
}

}  // namespace

Pipeline::Pipeline(PipelineOptions options, Clock& clock)
    : options_(std::move(options)),
      clock_(clock),
      ids_(options_.writer != 0 ? options_.writer : fresh_writer(clock)),
      known_(under_keep("known")) {}

Pipeline::~Pipeline() {
  if (!closed_) (void)hand_over();
}

Result<std::unique_ptr<Pipeline>> Pipeline::open(const IngestConfig& config, PipelineOptions options, Clock& clock,
                                                 const SinkMaker& other_sinks) {
  std::unique_ptr<Pipeline> pipeline(new Pipeline(std::move(options), clock));
  for (const InputConfig& input : config.inputs) TRY(pipeline->decoder_.add(input.tag, input.parser));
  pipeline->source_only_ = config.source_only;
  TRY(pipeline->find_directories(config));
  for (const SinkConfig& sink : config.sinks) TRY(pipeline->add_sink(sink, other_sinks));
  return pipeline;
}

Result<void> Pipeline::find_directories(const IngestConfig& config) {
  if (source_only_ && source_only_->file && source_only_->path.empty()) {
    if (options_.keep_path.empty())
      return Error(Errc::kInvalidArgument, "[source_only_buffer] needs a path where there is no store to put it in");
    source_only_->path = under_keep("source-only");
  }
  for (const SinkConfig& sink : config.sinks) {
    const std::string home = sink.buffer.file ? sink.buffer.path : under_keep(sink.name);
    if (!home.empty()) in_use_.push_back({sink.name, plain_path(home)});
    if (source_only_ && source_only_->file)
      in_use_.push_back({sink.name, plain_path(source_only_->path + "/" + sink.name)});
  }
  for (const BufferDirectory& known : known_.all())
    if (std::ranges::find(in_use_, known.path, &BufferDirectory::path) == in_use_.end()) former_.push_back(known);
  for (const BufferDirectory& used : in_use_) note_directory(used);
  return {};
}

void Pipeline::note_directory(const BufferDirectory& directory) {
  if (auto added = known_.add(directory); !added.ok()) spdlog::warn("{}", added.error().message);
}

std::string Pipeline::under_keep(const std::string& name) const {
  return options_.keep_path.empty() ? "" : options_.keep_path + "/" + name;
}

Result<void> Pipeline::add_sink(const SinkConfig& config, const SinkMaker& other_sinks) {
  ASSIGN_OR_RETURN(auto sink, make_sink(config, other_sinks));
  SinkRunner::Surroundings around{.ids = ids_,
                                  .clock = clock_,
                                  .seed = options_.seed++,
                                  .keep_path = under_keep(config.name),
                                  .source_only = source_only_,
                                  .former = {}};
  if (source_only_) around.source_only->path += "/" + config.name;
  const std::string refuge = config.buffer.file && !around.keep_path.empty() ? plain_path(around.keep_path) : "";
  if (!refuge.empty()) around.former.push_back(refuge);
  for (const BufferDirectory& former : former_)
    if (former.sink == config.name && former.path != refuge) around.former.push_back(former.path);
  ASSIGN_OR_RETURN(auto runner,
                   SinkRunner::open(config, std::move(sink), std::move(around), [this] { run_waiters(); }));
  runners_.push_back(std::move(runner));
  return {};
}

Result<std::unique_ptr<Sink>> Pipeline::make_sink(const SinkConfig& config, const SinkMaker& other_sinks) const {
  switch (config.kind) {
    case SinkKind::kFile: {
      FileSinkOptions options{.path = config.path,
                              .form = config.form,
                              .compression = config.compression,
                              .rotate_bytes = config.rotate_bytes,
                              .rotate_time = config.rotate_time,
                              .sync = config.buffer.file && config.buffer.limits.sync == SyncPolicy::kAlways};
      return std::unique_ptr<Sink>(std::make_unique<FileSink>(std::move(options), decoder_, clock_));
    }
    case SinkKind::kStdout:
      return std::unique_ptr<Sink>(std::make_unique<StdoutSink>(config.form, decoder_));
    case SinkKind::kForward: {
      ASSIGN_OR_RETURN(auto target, HttpTarget::parse(config.url));
      return std::unique_ptr<Sink>(
          std::make_unique<ForwardSink>(ForwardSinkOptions{.target = std::move(target)}, decoder_));
    }
    case SinkKind::kTable:
      break;
  }
  if (other_sinks) return other_sinks(config, decoder_);
  return Error(Errc::kInvalidArgument, "the sink \"" + config.name + "\" needs a database, and this node has none");
}

Pipeline::Route Pipeline::find_route(const std::string& tag) const {
  Route found;
  for (const auto& runner : runners_)
    if (runner->match().matches(tag)) found.push_back(runner.get());
  return found;
}

const Pipeline::Route& Pipeline::route(const std::string& tag) {
  {
    const std::shared_lock lock(routes_mutex_);
    if (const auto found = routes_.find(tag); found != routes_.end()) return found->second;
  }
  const std::unique_lock lock(routes_mutex_);
  const auto [place, fresh] = routes_.try_emplace(tag);
  if (!fresh) return place->second;
  place->second = find_route(tag);
  if (place->second.empty())
    spdlog::warn("no sink matches the tag \"{}\": its records are counted as unmatched, and go nowhere", tag);
  return place->second;
}

template <class Put>
Intake::Taken Pipeline::while_open(const RecordBatch& batch, Callback<void> done, const Put& put) {
  if (batch.empty()) {
    if (done) done({});
    return Taken::kYes;
  }
  puts_.fetch_add(1);
  const Taken taken = closed_ ? Taken::kRefused : put(std::move(done));
  if (puts_.fetch_sub(1) == 1 && closed_) puts_.notify_all();
  return taken;
}

Intake::Taken Pipeline::put(const std::string& tag, RecordBatch& batch, Ack ack, Callback<void> done) {
  return while_open(batch, std::move(done),
                    [&](Callback<void> told) { return put_open(tag, batch, ack, std::move(told)); });
}

Intake::Taken Pipeline::put_named(const NamedChunk& chunk, RecordBatch& batch, Ack ack, Callback<void> done) {
  return while_open(batch, std::move(done),
                    [&](Callback<void> told) { return put_named_open(chunk, batch, ack, std::move(told)); });
}

Intake::Taken Pipeline::put_open(const std::string& tag, RecordBatch& batch, Ack ack, Callback<void> done) {
  const Route& sinks = route(tag);
  if (sinks.empty()) {
    unmatched(tag, batch, ack, std::move(done));
    return Taken::kYes;
  }
  Route granted;
  if (const Taken taken = reserve(sinks, batch, ack, granted); taken != Taken::kYes) return taken;
  if (ack == Ack::kReceived || !done) {
    for (SinkRunner* sink : granted) sink->buffer().append(tag, batch, Ack::kReceived, nullptr);
    batch.clear();  // its memory stays with the input
    if (done) done({});
    return Taken::kYes;
  }
  const RecordBatch taken = std::exchange(batch, {});
  if (granted.size() == 1) {
    granted.front()->buffer().append(tag, taken, ack, std::move(done));
    return Taken::kYes;
  }
  const auto together = std::make_shared<Together>(std::move(done), granted.size());
  for (SinkRunner* sink : granted)
    sink->buffer().append(tag, taken, ack, [together](Result<void> how) { together->part(std::move(how)); });
  return Taken::kYes;
}

Intake::Taken Pipeline::put_named_open(const NamedChunk& chunk, RecordBatch& batch, Ack ack, Callback<void> done) {
  Route known;
  Route fresh;
  // Senders choose these tags: no route is kept for them.
  for (SinkRunner* sink : find_route(chunk.tag)) (sink->buffer().knows(chunk.id) ? known : fresh).push_back(sink);
  if (known.empty() && fresh.empty()) {
    unmatched(chunk.tag, batch, ack, std::move(done));
    return Taken::kYes;
  }
  Route granted;
  if (const Taken taken = reserve(fresh, batch, Ack::kStored, granted); taken != Taken::kYes) return taken;
  const RecordBatch records = std::exchange(batch, {});
  const auto together = std::make_shared<Together>(std::move(done), known.size() + fresh.size());
  const auto part = [together](Result<void> how) { together->part(std::move(how)); };
  for (SinkRunner* sink : known) sink->buffer().join(chunk.id, ack, part);
  for (SinkRunner* sink : fresh) sink->buffer().append(chunk, records, ack, part);
  return Taken::kYes;
}

Intake::Taken Pipeline::reserve(const Route& route, const RecordBatch& batch, Ack ack, Route& granted) {
  Route refused;
  Taken all = Taken::kYes;
  for (SinkRunner* sink : route) {
    const Taken taken = sink->buffer().reserve(batch);
    if (taken == Taken::kYes) granted.push_back(sink);
    if (taken == Taken::kRefused) refused.push_back(sink);
    if (taken == Taken::kWait) all = Taken::kWait;
  }
  if (all == Taken::kYes && !refused.empty() && (ack != Ack::kReceived || granted.empty())) all = Taken::kRefused;
  if (all != Taken::kWait)
    for (SinkRunner* sink : refused) sink->buffer().refuse(batch);
  if (all == Taken::kYes) return all;
  for (SinkRunner* sink : granted) sink->buffer().release(batch);
  return all;
}

void Pipeline::unmatched(const std::string& tag, RecordBatch& batch, Ack ack, Callback<void> done) {
  unmatched_records_ += batch.records();
  unmatched_bytes_ += batch.bytes();
  batch.clear();
  if (!done) return;
  if (ack == Ack::kReceived) return done({});
  done(Error(Errc::kNotFound, "no sink matches the tag \"" + tag + "\"; add a [[sink]] whose match does"));
}

void Pipeline::on_room(Task room) {
  {
    const std::lock_guard lock(waiters_mutex_);
    const bool full = std::ranges::any_of(runners_, [](const auto& runner) { return runner->buffer().is_full(); });
    if (full && !closed_) {
      waiters_.push_back(std::move(room));
      return;
    }
  }
  room();
}

void Pipeline::run_waiters() {
  std::vector<Task> waiters;
  {
    const std::lock_guard lock(waiters_mutex_);
    waiters.swap(waiters_);
  }
  for (Task& waiter : waiters) waiter();
}

void Pipeline::start_sinks() {
  for (const auto& runner : runners_) runner->start();
  // A sink of the same name goes on with them.
  std::erase_if(former_, [this](const BufferDirectory& former) {
    return std::ranges::find(in_use_, former.sink, &BufferDirectory::sink) != in_use_.end();
  });
  unclaimed_.look(former_, known_);
}

void Pipeline::hurry(bool now) {
  for (const auto& runner : runners_) runner->hurry(now);
}

LeftBehind Pipeline::end(bool flush) {
  closed_ = true;
  for (std::uint32_t under_way = puts_; under_way != 0; under_way = puts_) puts_.wait(under_way);
  LeftBehind left;
  for (const auto& runner : runners_) {
    const LeftBehind one = runner->stop(flush && runner->flush_at_shutdown());
    if (one.elsewhere) note_directory({runner->name(), plain_path(under_keep(runner->name()))});
    add(left.kept, one.kept);
    add(left.lost, one.lost);
  }
  run_waiters();
  return left;
}

LeftBehind Pipeline::stop() {
  return end(true);
}

LeftBehind Pipeline::hand_over() {
  return end(false);
}

PipelineStats Pipeline::stats() const {
  PipelineStats stats;
  for (const auto& runner : runners_) stats.sinks.push_back(runner->stats());
  stats.unclaimed = unclaimed_.found();
  stats.unmatched = {.records = unmatched_records_, .bytes = unmatched_bytes_};
  return stats;
}

}  // namespace outlast::ingest
