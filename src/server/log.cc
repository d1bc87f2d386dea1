#include "server/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

namespace outlast::server {

Result<void> open_log(const std::string& file, const std::string& level, const std::string& who) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off")
    return Error(Errc::kInvalidArgument, "'" + level + "' is no log level: use trace, debug, info, warn, error or off");
  try {
    auto logger =
        file.empty()
            ? std::make_shared<spdlog::logger>("outlast", std::make_shared<spdlog::sinks::stderr_sink_mt>())
            : std::make_shared<spdlog::logger>("outlast", std::make_shared<spdlog::sinks::basic_file_sink_mt>(file));
    logger->set_pattern("%Y-%m-%d %H:%M:%S.%e %L " + who + "[" + std::to_string(getpid()) + "] %v");
    logger->set_level(parsed);
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
  } catch (const spdlog::spdlog_ex& e) {
    return Error(Errc::kIo, "cannot write the log " + file + ": " + e.what());
  }
  return {};
}

}  // namespace outlast::server
