#include "server/meta_url.h"

#include <algorithm>
#include <filesystem>

#include "etcd/etcd_store.h"
#include "meta/embedded.h"

namespace outlast::server {
namespace {
constexpr std::string_view kEmbedded = "embedded:";
}  // namespace

Result<std::unique_ptr<meta::Store>> open_meta(const std::string& url, Loop& loop) {
  if (url.starts_with(etcd::kScheme)) {
    ASSIGN_OR_RETURN(const etcd::Options options, etcd::parse_url(url));
    ASSIGN_OR_RETURN(std::unique_ptr<etcd::EtcdStore> store, etcd::open_etcd(options, loop));
    return std::unique_ptr<meta::Store>(std::move(store));
  }
  TRY(check_meta_url(url));
  const std::filesystem::path dir = url.substr(kEmbedded.size());
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return Error(Errc::kIo, "cannot make the metadata directory " + dir.string() + ": " + error.message());
  return meta::open_embedded(dir, loop);
}

Result<void> check_meta_url(const std::string& url) {
  if (url.starts_with(etcd::kScheme)) {
    const auto options = etcd::parse_url(url);
    return options.ok() ? Result<void>() : options.error();
  }
  if (url.starts_with(kEmbedded) && url.size() > kEmbedded.size()) return {};
  return Error(Errc::kInvalidArgument,
               "--meta=" + url +
                   " is not understood: write embedded:DIR, a directory that all nodes of this machine share, or "
                   "etcd://HOST:PORT,HOST:PORT for nodes on several machines");
}

std::string life_lock_directory(const std::string& meta_url) {
  return meta_url.starts_with(kEmbedded) ? meta_url.substr(kEmbedded.size()) : std::string();
}

std::string meta_problem(const meta::Store& store) {
  if (store.connected()) return {};
  const auto* etcd = dynamic_cast<const etcd::EtcdStore*>(&store);
  const std::string why = etcd == nullptr ? std::string() : etcd->health().problem;
  return "the metadata store does not answer" + (why.empty() ? why : ": " + why);
}

void meta_samples(const meta::Store& store, std::vector<Sample>& out) {
  out.push_back(
      {"outlast_meta_connected", "1 while the metadata store answers", false, store.connected() ? 1.0 : 0.0, {}});
  const auto* etcd = dynamic_cast<const etcd::EtcdStore*>(&store);
  if (etcd == nullptr) return;
  const etcd::Health health = etcd->health();
  out.push_back({"outlast_meta_etcd_db_bytes",
                 "Size of etcd's database; at its quota it accepts no change",
                 false,
                 static_cast<double>(health.db_bytes),
                 {}});
  out.push_back({"outlast_meta_etcd_db_in_use_bytes",
                 "The part of it that is not free",
                 false,
                 static_cast<double>(health.db_bytes_in_use),
                 {}});
  for (const char* alarm : {"NOSPACE", "CORRUPT"}) {
    const bool raised = std::ranges::find(health.alarms, alarm) != health.alarms.end();
    out.push_back({"outlast_meta_etcd_alarm",
                   "1 while etcd has raised the alarm, and accepts no change",
                   false,
                   raised ? 1.0 : 0.0,
                   {{"alarm", alarm}}});
  }
}

}  // namespace outlast::server
