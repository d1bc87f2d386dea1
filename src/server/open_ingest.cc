#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <boost/json/serialize.hpp>
#include <filesystem>

#include "server/ingest_sockets.h"
#include "server/node_ingest.h"

namespace outlast::server {
namespace {
Result<ingest::IngestConfig> config_of(const WorkerOptions& options, const std::string& store) {
  const std::string last = store + "/INGEST.toml";
  const std::string& file = options.ingest_config.empty() ? options.start.config : options.ingest_config;
  auto config = read_ingest_config(file, options.start);
  if (!config.ok() && !options.standby) {
    spdlog::error("{}; the inputs are as they were when it was last read", config.error().message);
    return read_ingest_config(last, options.start);
  }
  if (config.ok() && !file.empty()) {
    std::error_code ignored;
    std::filesystem::copy_file(file, last, std::filesystem::copy_options::overwrite_existing, ignored);
  }
  return config;
}
}  // namespace

Result<std::unique_ptr<NodeIngest>> open_ingest(const WorkerOptions& options, NodeIngest::Parts parts) {
  ASSIGN_OR_RETURN(ingest::IngestConfig config, config_of(options, parts.store));
  if (config.inputs.empty() && config.sinks.empty()) return std::unique_ptr<NodeIngest>();
  ASSIGN_OR_RETURN(auto sockets, parse_input_sockets(options.input_sockets));
  for (const auto& [name, fd] : sockets) fcntl(fd, F_SETFD, FD_CLOEXEC);
  return NodeIngest::open(std::move(config), std::move(sockets), std::move(parts));
}

void add_ingest_route(http::Server& server, std::function<const NodeIngest*()> ingest) {
  server.route("GET", "/api/ingest",
               [ingest = std::move(ingest)](const http::Request&) -> boost::asio::awaitable<http::Response> {
                 const NodeIngest* const now = ingest();
                 co_return http::Response::json((now == nullptr ? R"({"source_only":false,"inputs":[],"sinks":[]})"
                                                                : boost::json::serialize(now->status())) +
                                                "\n");
               });
}

}  // namespace outlast::server
