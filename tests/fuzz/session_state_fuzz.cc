// A session's state from a worker that may be mistaken: it becomes a session or an error, and what became a session can
// be handed on.
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/result.h"
#include "sql/session/client_session.h"
#include "sql/session/session_host.h"

namespace {
using namespace outlast;
namespace asio = boost::asio;
using asio::awaitable;

Error none() {
  return Error(Errc::kInternal, "there is no cluster here");
}

class NoSession final : public gateway::Session {
 public:
  awaitable<Result<void>> use_database(std::string) override { co_return none(); }
  const std::string& database() const override { return database_; }
  gateway::TxnStatus status() const override { return gateway::TxnStatus::kIdle; }
  gateway::Limits& limits() override { return limits_; }
  gateway::Seen seen() const override { return seen_; }
  void resume(std::string database, gateway::Seen seen) override {
    database_ = std::move(database);
    seen_ = seen;
  }
  awaitable<Result<gateway::Rows>> run(gateway::Statement) override { co_return none(); }
  awaitable<Result<gateway::Rows>> fetch(std::uint64_t, std::uint64_t) override { co_return none(); }
  awaitable<void> close_portal(std::uint64_t) override { co_return; }
  awaitable<Result<gateway::Rows>> describe(std::string, bool) override { co_return none(); }
  Result<void> begin(gateway::TxnOptions) override { return none(); }
  awaitable<Result<bool>> commit() override { co_return none(); }
  awaitable<void> rollback() override { co_return; }
  awaitable<Result<void>> savepoint(SavepointAction, std::string) override { co_return none(); }
  void fail_transaction() override {}
  void interrupt() override {}

 private:
  std::string database_;
  gateway::Limits limits_;
  gateway::Seen seen_;
};

class NoCluster final : public gateway::Cluster {
 public:
  std::unique_ptr<gateway::Session> open_session() override { return std::make_unique<NoSession>(); }
  std::vector<gateway::DatabaseRow> databases() const override { return {}; }
  awaitable<Result<void>> create_database(std::string) override { co_return none(); }
  awaitable<Result<void>> set_replication_factor(std::string, int) override { co_return none(); }
  awaitable<Result<void>> drop_database(std::string) override { co_return none(); }
  std::shared_ptr<const gateway::PartitionedTables> partitioned(const std::string&) const override { return nullptr; }
  awaitable<Result<void>> create_partitioned(std::string, gateway::NewPartitionedTable) override { co_return none(); }
  awaitable<Result<void>> change_partitioned(std::string, std::string, gateway::TableChange) override {
    co_return none();
  }
  awaitable<Result<void>> drop_partitioned(std::string, std::string) override { co_return none(); }
  awaitable<Result<gateway::PartitionRow>> add_partition(std::string, std::string, std::int64_t) override {
    co_return none();
  }
  awaitable<Result<std::vector<gateway::ListingRow>>> list(gateway::Listing) override { co_return none(); }
  std::vector<gateway::SettingRow> settings() const override { return {}; }
  Result<std::string> setting(const std::string&) const override { return none(); }
  awaitable<Result<void>> set_setting(std::string, std::string) override { co_return none(); }
  awaitable<Result<void>> reset_setting(std::string) override { co_return none(); }
  NodeId node() const override { return NodeId(1); }
  std::string process() const override { return "1/1"; }
  bool process_gone(const std::string&) const override { return true; }
  std::int64_t wall_micros() const override { return 0; }
  std::optional<NodeId> leader(RangeId) const override { return std::nullopt; }
  std::string refuse_sessions() const override { return {}; }
};

class NoClient final : public sql::Stream {
 public:
  awaitable<Result<std::size_t>> read_some(char*, std::size_t) override { co_return std::size_t{0}; }
  awaitable<Result<void>> wait_readable() override { co_return Result<void>(); }
  awaitable<Result<std::size_t>> write_all(std::string_view bytes) override { co_return bytes.size(); }
  Result<std::size_t> write_now(std::string_view bytes) override { return bytes.size(); }
  void cancel_read() override {}
  void cancel_write() override {}
  int release() override { return -1; }
  bool peer_gone() override { return true; }
  void close() override {}
  std::string peer_name() const override { return {}; }
};

class NoClock final : public Clock {
 public:
  Instant now() const override { return {}; }
  std::int64_t wall_micros() const override { return 0; }
};

std::shared_ptr<sql::ClientSession> session_of(sql::SessionHost& host, asio::io_context& context,
                                               const proto::SessionState& state) {
  auto session = std::make_shared<sql::ClientSession>(host, std::make_unique<NoClient>(), context.get_executor());
  return session->restore(state, nullptr).ok() ? session : nullptr;
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  proto::SessionState state;
  if (!state.ParseFromArray(data, static_cast<int>(size))) return 0;
  NoCluster cluster;
  const NoClock clock;
  asio::io_context context;
  sql::SessionHost host(cluster, clock, {});
  const auto first = session_of(host, context, state);
  if (!first) return 0;
  const proto::SessionState handed_on = first->exported();
  OUTLAST_ASSERT(handed_on.input() == state.input() && handed_on.output() == state.output(), "bytes got lost");
  const auto second = session_of(host, context, handed_on);
  OUTLAST_ASSERT(second != nullptr, "what was handed on is no session");
  return 0;
}
