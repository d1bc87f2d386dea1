#include "server/check.h"

#include <signal.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <filesystem>

#include "base/parse.h"
#include "base/version.h"
#include "handover/channel.h"
#include "placement/locality.h"
#include "server/ingest_sockets.h"
#include "server/meta_url.h"
#include "storage/format_check.h"
#include "storage/log_format.h"

namespace outlast::server {
namespace {
namespace json = boost::json;
namespace fs = std::filesystem;

/// The nearest folder above that exists.
fs::path existing_parent(fs::path path) {
  std::error_code ignored;
  path = fs::absolute(path, ignored).parent_path();
  while (path.has_relative_path() && !fs::exists(path, ignored)) path = path.parent_path();
  return path;
}

Result<void> check_log_file(const std::string& file) {
  if (file.empty()) return {};
  std::error_code ignored;
  const fs::path touched = fs::exists(file, ignored) ? fs::path(file) : existing_parent(file);
  if (::access(touched.c_str(), W_OK) == 0 && !fs::is_directory(file, ignored)) return {};
  return Error(Errc::kInvalidArgument,
               "--log-file=" + file + " cannot be written: check its path and the rights of this user");
}

/// host:port, and not one that other machines reach unless `insecure`.
Result<void> check_address(const std::string& option, const std::string& address, bool insecure) {
  const auto colon = address.rfind(':');
  const auto port = colon == std::string::npos ? Result<std::int64_t>(Error(Errc::kInvalidArgument, ""))
                                               : parse_int(std::string_view(address).substr(colon + 1));
  if (!port.ok() || *port < 0 || *port > 65535)
    return Error(Errc::kInvalidArgument,
                 option + "=" + address + " is not HOST:PORT, such as 127.0.0.1:26257; port 0 means any free one");
  const std::string host = address.substr(0, colon);
  if (insecure || host == "127.0.0.1" || host == "localhost") return {};
  return Error(Errc::kInvalidArgument, option + "=" + address +
                                           " can be reached from other machines and there is no TLS yet: "
                                           "bind 127.0.0.1, or say --insecure if the network is trusted");
}

Result<void> check_options(const StartOptions& options) {
  if (options.store.empty()) return Error(Errc::kInvalidArgument, "--store needs a directory");
  TRY(check_roles(options));
  TRY(check_addresses(options));
  if (auto locality = placement::parse_locality(options.locality); !locality.ok()) return std::move(locality).error();
  if (!is_collector(options)) TRY(check_meta_url(options.meta));
  return check_log_file(options.log_file);
}

/// The store and, when it is none yet, the place where it would be made.
Result<void> check_store(storage::Disk& disk, const StartOptions& options, CheckReport& report) {
  const std::string& path = options.store;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) {
    const fs::path parent = existing_parent(path);
    if (::access(parent.c_str(), W_OK | X_OK) != 0)
      return Error(Errc::kInvalidArgument,
                   "the store " + path + " cannot be made: " + parent.string() + " is not writable for this user");
    report.warnings.push_back("there is no store at " + path + " yet: a new one would be made");
    return {};
  }
  if (::access(path.c_str(), R_OK | W_OK | X_OK) != 0)
    return Error(Errc::kInvalidArgument, "the store " + path + " is not readable and writable for this user");
  ASSIGN_OR_RETURN(const std::unique_ptr<storage::StoreDir> store, storage::open_store(disk, path));
  if (is_collector(options)) return check_collector_store(*store);
  if (store->is_new()) report.warnings.push_back("the store " + path + " belongs to no cluster yet");
  return storage::check_formats(disk, path);
}

/// Addresses of a node that runs now and differ from the options: a restart keeps its sockets.
void compare_listeners(const StartOptions& options, storage::Disk& disk, CheckReport& report) {
  const auto text = storage::read_file(disk, options.store + "/NODE.json");
  if (!text.ok()) return;
  boost::system::error_code error;
  const json::value node = json::parse(*text, error);
  const auto* const fields = error ? nullptr : node.if_object();
  if (fields == nullptr) return;
  const auto* const pid = fields->if_contains("pid");
  if (pid == nullptr || !pid->is_int64() || ::kill(static_cast<pid_t>(pid->get_int64()), 0) != 0) return;
  const auto compare = [&](const char* option, const char* field, const std::string& wanted) {
    const auto* const now = fields->if_contains(field);
    if (now == nullptr || !now->is_string() || wanted.ends_with(":0")) return;
    if (std::string_view(now->get_string()) == wanted) return;
    report.warnings.push_back(std::string(option) + " is " + wanted + ", and the node that runs listens on " +
                              std::string(now->get_string()) +
                              ": a restart keeps that socket; stop the node and start it to change it");
  };
  if (takes_clients(options)) compare("--sql-addr", "sql_addr", options.sql_addr);
  compare("--http-addr", "http_addr", options.http_addr);
}

}  // namespace

Result<void> check_addresses(const StartOptions& options) {
  TRY(check_address("--http-addr", options.http_addr, options.insecure));
  if (is_collector(options)) return {};
  TRY(check_address("--sql-addr", options.sql_addr, options.insecure));
  return check_address("--listen-addr", options.listen_addr, options.insecure);
}

Result<void> check_collector_store(const storage::StoreDir& store) {
  if (store.is_new()) return {};
  return Error(Errc::kInvalidArgument, "the store " + store.path() + " belongs to node " +
                                           store.identity().node.to_string() +
                                           " of a cluster: give the collector a --store of its own");
}

Result<CheckReport> check_start(storage::Disk& disk, const StartOptions& options) {
  TRY(check_options(options));
  TRY(read_ingest_config(options.config, options));
  const bool collector = is_collector(options);
  CheckReport report{.version = program_version(),
                     .state_formats = {{"store", storage::StoreDir::kFormat},
                                       {"log", storage::kLogFormat},
                                       {"handover", handover::kHandoverVersion}},
                     .sql_addr = collector ? "" : options.sql_addr,
                     .http_addr = options.http_addr,
                     .listen_addr = collector ? "" : options.listen_addr,
                     .warnings = {}};
  TRY(check_store(disk, options, report));
  compare_listeners(options, disk, report);
  if (options.insecure) report.warnings.push_back("--insecure: whoever reaches the addresses is let in, without TLS");
  return report;
}

std::string to_json(const CheckReport& report) {
  json::object formats;
  for (const auto& [name, version] : report.state_formats) formats[name] = version;
  json::array warnings;
  for (const std::string& warning : report.warnings) warnings.emplace_back(warning);
  return json::serialize(
      json::object{{"version", report.version},
                   {"state_formats", formats},
                   {"listeners", {{"sql", report.sql_addr}, {"http", report.http_addr}, {"rpc", report.listen_addr}}},
                   {"warnings", warnings}});
}

}  // namespace outlast::server
