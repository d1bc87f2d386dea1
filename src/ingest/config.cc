#include "ingest/config.h"

#include <algorithm>

#include "ingest/config_input.h"
#include "ingest/sink/http_post.h"

namespace outlast::ingest {
namespace {
constexpr std::uint64_t kMiB = 1U << 20;

void read_retry(ConfigTable& table, RetryLimits& retry) {
  table.time("retry_wait", retry.wait);
  table.number("retry_exponential_backoff_base", retry.base, 1);
  Duration longest{};
  if (table.time("retry_max_interval", longest)) retry.max_interval = longest;
  table.time("retry_timeout", retry.timeout);
  std::uint32_t times = 0;
  if (table.count("retry_max_times", times, 0)) retry.max_times = times;
  table.flag("retry_forever", retry.forever);
  table.flag("retry_randomize", retry.randomize);
}

/// What all buffers have.
void read_room(ConfigTable& table, BufferConfig& buffer) {
  BufferLimits& limits = buffer.limits;
  if (buffer.file) table.text("path", buffer.path);
  table.bytes("chunk_limit_size", limits.chunk_bytes);
  table.bytes("total_limit_size", limits.total_bytes);
  if (limits.chunk_bytes > limits.total_bytes)
    table.wrong(table.has("total_limit_size") ? "total_limit_size" : "chunk_limit_size",
                "one chunk would be larger than the whole buffer");
  table.time("flush_interval", limits.flush_interval);
  table.count("flush_thread_count", limits.flush_threads, 1);
  table.word<Overflow>(
      "overflow_action", limits.overflow,
      {{"block", Overflow::kBlock}, {"drop_oldest_chunk", Overflow::kDropOldestChunk}, {"reject", Overflow::kReject}});
  table.word<SyncPolicy>(
      "fsync", limits.sync,
      {{"always", SyncPolicy::kAlways}, {"interval", SyncPolicy::kInterval}, {"never", SyncPolicy::kNever}});
  table.time("fsync_interval", limits.sync_interval);
}

void read_buffer_table(ConfigTable& table, BufferConfig& buffer) {
  read_room(table, buffer);
  table.flag("flush_at_shutdown", buffer.flush_at_shutdown);
  read_retry(table, buffer.limits.retry);
  table.text("secondary_path", buffer.secondary_path);
}

/// Fluentd's defaults of file buffers; of memory buffers they are BufferLimits' own.
void become_file(BufferConfig& buffer) {
  buffer.file = true;
  buffer.limits.chunk_bytes = 256 * kMiB;
  buffer.limits.total_bytes = 64 * 1024 * kMiB;
  buffer.flush_at_shutdown = false;
}

Result<BufferConfig> read_buffer(const toml::table* from, const std::string& file, SinkKind sink) {
  BufferConfig buffer;
  if (from == nullptr) return buffer;
  ConfigTable table(*from, file, "[sink.buffer]");
  table.word<bool>("type", buffer.file, {{"memory", false}, {"file", true}});
  if (buffer.file) {
    become_file(buffer);
    table.require("path", "\"/var/lib/outlast/buffer/name\"");
  }
  // A forwarded chunk is one request, one for a table a transaction.
  if (sink == SinkKind::kForward || sink == SinkKind::kTable) buffer.limits.chunk_bytes = 8 * kMiB;
  read_buffer_table(table, buffer);
  TRY(table.finish());
  return buffer;
}

void read_kind(ConfigTable& table, SinkConfig& sink) {
  if (sink.kind == SinkKind::kFile || sink.kind == SinkKind::kStdout)
    table.word<LineForm>("template", sink.form, {{"none", LineForm::kRaw}, {"json", LineForm::kJson}});
  switch (sink.kind) {
    case SinkKind::kFile:
      table.require("path", "\"/var/log/app.log\"");
      table.text("path", sink.path);
      table.bytes("rotate_size", sink.rotate_bytes);
      table.time("rotate_time", sink.rotate_time);
      table.word<Compression>(
          "compress", sink.compression,
          {{"none", Compression::kNone}, {"gzip", Compression::kGzip}, {"zstd", Compression::kZstd}});
      break;
    case SinkKind::kTable:
      table.require("table", "\"logs\"");
      table.text("table", sink.table);
      table.text("database", sink.database);
      break;
    case SinkKind::kForward:
      table.require("url", "\"http://10.0.0.5:9880/app\"");
      if (table.text("url", sink.url))
        if (const auto target = HttpTarget::parse(sink.url); !target.ok()) table.wrong("url", target.error().message);
      break;
    case SinkKind::kStdout:
      break;
  }
}

Result<SinkConfig> read_sink(const toml::table& from, const std::string& file) {
  ConfigTable table(from, file, "[[sink]]");
  SinkConfig sink;
  std::string type;
  table.require("type", "\"file\"");
  table.text("type", type);
  table.word<SinkKind>("type", sink.kind,
                       {{"file", SinkKind::kFile},
                        {"stdout", SinkKind::kStdout},
                        {"table", SinkKind::kTable},
                        {"forward", SinkKind::kForward}});
  sink.name = type;
  table.text("name", sink.name);
  // The name is a directory's too, where a memory buffer is kept over a restart.
  if (sink.name.empty() || sink.name.contains('/') || sink.name.starts_with('.'))
    table.wrong("name", "a name is not empty, has no / and does not begin with a point");
  sink.match = TagPattern::parse("**").value();
  table.parsed<TagPattern>("match", sink.match, [](const std::string& text) { return TagPattern::parse(text); });
  read_kind(table, sink);
  const toml::table* buffer = table.table("buffer");
  TRY(table.finish());
  ASSIGN_OR_RETURN(sink.buffer, read_buffer(buffer, file, sink.kind));
  return sink;
}

/// What is between tables: each name once, a tag's parser the same everywhere, a directory for each buffer.
template <class Config>
Result<void> check_name(const std::vector<Config>& others, const Config& one, const std::string& what) {
  if (std::ranges::find(others, one.name, &Config::name) == others.end()) return {};
  return Error(Errc::kInvalidArgument, "two " + what + " are called \"" + one.name + "\"; give each a name of its own");
}

Result<void> add(std::vector<InputConfig>& inputs, InputConfig input) {
  TRY(check_name(inputs, input, "inputs"));
  for (const InputConfig& other : inputs)
    if (other.tag == input.tag && other.parser != input.parser)
      return Error(Errc::kInvalidArgument, "the inputs \"" + other.name + "\" and \"" + input.name +
                                               "\" have one tag and two parsers; give each a tag of its own");
  inputs.push_back(std::move(input));
  return {};
}

Result<void> add(std::vector<SinkConfig>& sinks, SinkConfig sink) {
  TRY(check_name(sinks, sink, "sinks"));
  for (const SinkConfig& other : sinks)
    if (sink.buffer.file && other.buffer.path == sink.buffer.path)
      return Error(Errc::kInvalidArgument, "the sinks \"" + other.name + "\" and \"" + sink.name +
                                               "\" have one buffer path; give each a directory of its own");
  sinks.push_back(std::move(sink));
  return {};
}

template <class Config>
Result<void> read_all(const toml::table& root, const char* key, const std::string& file, std::vector<Config>& to,
                      Result<Config> (*read)(const toml::table&, const std::string&)) {
  const toml::node* node = root.get(key);
  if (node == nullptr) return {};
  const auto* list = node->as_array();
  if (list == nullptr || !list->is_array_of_tables())
    return config_error(file, node->source(), "write each one as [[" + std::string(key) + "]], with two brackets");
  for (const toml::node& each : *list) {
    ASSIGN_OR_RETURN(Config config, read(*each.as_table(), file));
    if (auto added = add(to, std::move(config)); !added.ok())
      return config_error(file, each.source(), added.error().message);
  }
  return {};
}

Result<void> read_source_only(const toml::table& root, const std::string& file, std::optional<BufferConfig>& to) {
  const toml::node* node = root.get("source_only_buffer");
  if (node == nullptr) return {};
  if (!node->is_table())
    return config_error(file, node->source(), "source_only_buffer is a table: [source_only_buffer]");
  ConfigTable table(*node->as_table(), file, "[source_only_buffer]");
  BufferConfig buffer;
  buffer.file = true;  // Fluentd's, as are the other two
  table.word<bool>("type", buffer.file, {{"memory", false}, {"file", true}});
  if (buffer.file) become_file(buffer);
  buffer.limits.flush_interval = std::chrono::seconds(10);
  buffer.limits.overflow = Overflow::kDropOldestChunk;
  read_room(table, buffer);
  TRY(table.finish());
  to = std::move(buffer);
  return {};
}

Result<void> check_source_only_path(const IngestConfig& config) {
  if (!config.source_only || config.source_only->path.empty()) return {};
  for (const SinkConfig& sink : config.sinks)
    for (const SinkConfig& other : config.sinks)
      if (other.buffer.file && other.buffer.path == config.source_only->path + "/" + sink.name)
        return Error(Errc::kInvalidArgument, "source_only_buffer and the buffer of the sink \"" + other.name +
                                                 "\" have one directory, " + other.buffer.path +
                                                 "; give each one of its own");
  return {};
}

}  // namespace

Result<IngestConfig> parse_ingest_config(std::string_view text, const std::string& file) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed)
    return config_error(file, parsed.error().source(),
                        "this is not TOML: " + std::string(parsed.error().description()));
  const toml::table& root = parsed.table();
  IngestConfig config;
  TRY(read_all(root, "input", file, config.inputs, &read_input));
  TRY(read_all(root, "sink", file, config.sinks, &read_sink));
  TRY(read_source_only(root, file, config.source_only));
  if (auto checked = check_source_only_path(config); !checked.ok())
    return config_error(file, root.get("source_only_buffer")->source(), checked.error().message);
  if (!config.inputs.empty() && config.sinks.empty())
    return config_error(file, root.get("input")->source(), "there is no [[sink]] that takes what the inputs read");
  return config;
}

}  // namespace outlast::ingest
