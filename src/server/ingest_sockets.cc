#include "server/ingest_sockets.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/parse.h"
#include "ingest/input/socket.h"

namespace outlast::server {
using ingest::InputConfig;
using ingest::InputKind;

namespace {
bool takes_datagrams(const InputConfig& input) {
  return input.kind == InputKind::kUdp || (input.kind == InputKind::kSyslog && !input.stream);
}
}  // namespace

Result<ingest::IngestConfig> read_ingest_config(const std::string& file) {
  if (file.empty()) return ingest::IngestConfig();
  std::ifstream in(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in.is_open() || in.bad())
    return Error(Errc::kInvalidArgument, "cannot read " + file + ": " + std::strerror(errno));
  return ingest::parse_ingest_config(text, file);
}

Error no_database(const ingest::SinkConfig& sink) {
  return {Errc::kInvalidArgument, "the sink \"" + sink.name +
                                      "\" stores into a table, and a node with --roles=none has no "
                                      "database: use type = \"forward\" with the URL of a node's HTTP input, a file or "
                                      "stdout, or start the node without --roles=none"};
}

Result<ingest::IngestConfig> read_ingest_config(const std::string& file, const StartOptions& options) {
  ASSIGN_OR_RETURN(ingest::IngestConfig config, read_ingest_config(file));
  if (!is_collector(options)) return config;
  if (config.inputs.empty() && config.sinks.empty())
    return Error(Errc::kInvalidArgument,
                 (file.empty() ? "there is no --config, so" : file + " describes neither [[input]] nor [[sink]], so") +
                     std::string(" a node with --roles=none would have nothing to do: name a file that does"));
  for (const ingest::SinkConfig& sink : config.sinks)
    if (sink.kind == ingest::SinkKind::kTable)
      return Error(Errc::kInvalidArgument, file + ": " + no_database(sink).message);
  return config;
}

std::string socket_name(const InputConfig& input) {
  const char* const scheme = takes_datagrams(input) ? "udp://" : input.kind == InputKind::kHttp ? "http://" : "tcp://";
  return scheme + input.address;
}

Result<handover::Listeners> bind_inputs(handover::Listeners open, const ingest::IngestConfig& config) {
  const std::map<std::string, int> had = std::exchange(open.inputs, {});
  std::vector<ingest::Fd> fresh;
  for (const InputConfig& input : config.inputs) {
    const std::string name = socket_name(input);
    if (open.inputs.contains(name))
      return Error(Errc::kInvalidArgument, "two inputs listen on " + name + ": give each an address of its own");
    if (const auto kept = had.find(name); kept != had.end()) {
      open.inputs[name] = kept->second;
      continue;
    }
    ASSIGN_OR_RETURN(const ingest::ListenAddress address, ingest::ListenAddress::parse(name));
    ASSIGN_OR_RETURN(ingest::Fd fd, ingest::open_socket(address, takes_datagrams(input)));
    open.inputs[name] = fd.get();
    fresh.push_back(std::move(fd));
  }
  for (ingest::Fd& fd : fresh) (void)fd.release();
  return open;
}

Result<std::map<std::string, int>> parse_input_sockets(const std::vector<std::string>& words) {
  std::map<std::string, int> sockets;
  for (const std::string& word : words) {
    const std::size_t eq = word.find('=');
    const auto fd = parse_int(std::string_view(word).substr(0, eq));
    if (eq == std::string::npos || !fd.ok() || *fd < 3 || *fd > 65535)
      return Error(Errc::kInvalidArgument, "--input-socket=" + word + " is not FD=ADDRESS");
    sockets[word.substr(eq + 1)] = static_cast<int>(*fd);
  }
  return sockets;
}

}  // namespace outlast::server
