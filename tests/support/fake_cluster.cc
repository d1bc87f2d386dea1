#include "tests/support/fake_cluster.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "tests/support/fake_session.h"

namespace outlast::testing {
namespace asio = boost::asio;

FakeCluster::FakeCluster() : partitioning_(partitions_.ports(), [this] { return open_session(); }) {
  std::string pattern = (std::filesystem::temp_directory_path() / "outlast-fake-XXXXXX").string();
  OUTLAST_ASSERT(::mkdtemp(pattern.data()) != nullptr);
  directory_ = pattern;
  databases_["defaultdb"] = {DatabaseId(next_id_), "defaultdb", RangeId(next_id_)};
  settings_["liveness.ttl"] = {"liveness.ttl", "3s", "duration", "3s", "Longest silence of a live node."};
}

FakeCluster::~FakeCluster() {
  pool_.join();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

std::unique_ptr<gateway::Session> FakeCluster::open_session() {
  return std::make_unique<FakeSession>(*this);
}

std::vector<gateway::DatabaseRow> FakeCluster::databases() const {
  const std::lock_guard lock(mutex_);
  std::vector<gateway::DatabaseRow> all;
  for (const auto& [name, row] : databases_) all.push_back(row);
  return all;
}

std::string FakeCluster::path_of(const std::string& database) const {
  const std::lock_guard lock(mutex_);
  const auto it = databases_.find(database);
  return it == databases_.end() ? "" : directory_ + "/" + it->second.range.to_string() + ".db";
}

std::string FakeCluster::path_of(RangeId range) const {
  const std::lock_guard lock(mutex_);
  bool there = partitions_.has(range);
  for (const auto& [name, row] : databases_) there = there || row.range == range;
  return there ? directory_ + "/" + range.to_string() + ".db" : "";
}

asio::awaitable<Result<void>> FakeCluster::create_database(std::string name) {
  const std::lock_guard lock(mutex_);
  if (databases_.contains(name)) co_return Error(Errc::kDuplicateDatabase, "database \"" + name + "\" already exists");
  ++next_id_;
  databases_[name] = {DatabaseId(next_id_), name, RangeId(next_id_)};
  co_return Result<void>();
}

asio::awaitable<Result<void>> FakeCluster::drop_database(std::string name) {
  const std::lock_guard lock(mutex_);
  if (databases_.erase(name) == 0)
    co_return Error(Errc::kUndefinedDatabase, "database \"" + name + "\" does not exist");
  co_return Result<void>();
}

asio::awaitable<Result<std::vector<gateway::ListingRow>>> FakeCluster::list(gateway::Listing what) {
  if (what != gateway::Listing::kNodes) co_return std::vector<gateway::ListingRow>();
  gateway::ListingRow row;
  for (const gateway::ListingColumn& column : gateway::listing_columns(what))
    row.push_back(column.kind == gateway::ListingColumn::Kind::kText ? executor::Value(std::string(column.name))
                                                                     : executor::Value(std::int64_t{1}));
  co_return std::vector<gateway::ListingRow>{std::move(row)};
}

std::vector<gateway::SettingRow> FakeCluster::settings() const {
  const std::lock_guard lock(mutex_);
  std::vector<gateway::SettingRow> all;
  for (const auto& [name, row] : settings_) all.push_back(row);
  return all;
}

Result<std::string> FakeCluster::setting(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const auto it = settings_.find(name);
  if (it == settings_.end()) return Error(Errc::kUndefinedObject, "unknown cluster setting '" + name + "'");
  return it->second.value;
}

asio::awaitable<Result<void>> FakeCluster::set_replication_factor(std::string database, int) {
  const std::lock_guard lock(mutex_);
  if (!databases_.contains(database))
    co_return Error(Errc::kUndefinedDatabase, "database \"" + database + "\" does not exist");
  co_return Result<void>();
}

asio::awaitable<Result<void>> FakeCluster::set_setting(std::string name, std::string value) {
  const std::lock_guard lock(mutex_);
  const auto it = settings_.find(name);
  if (it == settings_.end()) co_return Error(Errc::kUndefinedObject, "unknown cluster setting '" + name + "'");
  it->second.value = value;
  co_return Result<void>();
}

asio::awaitable<Result<void>> FakeCluster::reset_setting(std::string name) {
  const std::lock_guard lock(mutex_);
  const auto it = settings_.find(name);
  if (it == settings_.end()) co_return Error(Errc::kUndefinedObject, "unknown cluster setting '" + name + "'");
  it->second.value = it->second.default_value;
  co_return Result<void>();
}

std::int64_t FakeCluster::wall_micros() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string FakeCluster::refuse_sessions() const {
  const std::lock_guard lock(mutex_);
  return refuse_;
}

void FakeCluster::refuse(std::string why) {
  const std::lock_guard lock(mutex_);
  refuse_ = std::move(why);
}

}  // namespace outlast::testing
