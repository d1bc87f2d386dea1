#pragma once
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "handover/sockets.h"
#include "ingest/config.h"
#include "server/options.h"

namespace outlast::server {

/// The inputs and sinks that a configuration file describes; none without a file. kInvalidArgument names file, line and
/// what is allowed there.
Result<ingest::IngestConfig> read_ingest_config(const std::string& file);

/// The same for a node with these options: a collector needs something to do, and has no database.
Result<ingest::IngestConfig> read_ingest_config(const std::string& file, const StartOptions& options);
/// A table sink where there is no database.
Error no_database(const ingest::SinkConfig& sink);

/// What an input's socket is called between supervisor and workers: "udp://0.0.0.0:5140".
std::string socket_name(const ingest::InputConfig& input);

/// The sockets of `open` that the inputs still want, and new ones for the others; the rest of `open` as it is. On an
/// error nothing new is left open. kInvalidArgument, kUnavailable name the address.
Result<handover::Listeners> bind_inputs(handover::Listeners open, const ingest::IngestConfig& config);

/// "7=udp://0.0.0.0:5140" of --input-socket, by name. kInvalidArgument.
Result<std::map<std::string, int>> parse_input_sockets(const std::vector<std::string>& words);

}  // namespace outlast::server
