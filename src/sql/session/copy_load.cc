// COPY FROM into a partitioned table: rows for several ranges, all or none of them (protocol A9).
#include "sql/session/copy.h"

namespace outlast::sql {
namespace asio = boost::asio;

namespace {
constexpr Duration kTime = std::chrono::hours(24);  ///< While the client goes on; a dead gateway is found out earlier.
}  // namespace

bool Copy::is_partitioned(const std::string& table) const {
  const auto tables = s_.host.cluster.partitioned(s_.gateway->database());
  return tables != nullptr && tables->contains(table);
}

asio::awaitable<Result<void>> Copy::into_partitions(const CopySpec* spec, const Target* target) {
  if (s_.in_transaction())
    co_return Error(Errc::kActiveTransaction,
                    "COPY into a partitioned table cannot run inside a transaction block: it writes to several ranges "
                    "and is all or nothing by itself");
  auto opened = co_await loads::Load::open(
      s_.host.cluster,
      {.database = s_.gateway->database(), .table = spec->table, .columns = target->names, .timeout = kTime});
  if (!opened.ok()) co_return std::move(opened).error();
  if (!opened->load) co_return Error(Errc::kInternal, "a made-up label was taken");
  load_ = std::move(opened->load);
  auto count = co_await load_rows(spec, target);
  if (!count.ok() && count.error().code != Errc::kUnknownOutcome) co_await load_->abort(count.error().message);
  load_.reset();
  if (!count.ok()) co_return std::move(count).error();
  s_.io.out.command_complete("COPY " + std::to_string(*count));
  co_return Result<void>();
}

asio::awaitable<Result<std::uint64_t>> Copy::load_rows(const CopySpec* spec, const Target* target) {
  s_.io.out.copy_in_response(target->names.size());
  if (auto flushed = co_await s_.io.flush(); !flushed.ok()) co_return std::move(flushed).error();
  auto count = co_await take_rows(spec, target);
  if (!count.ok()) co_return count;
  auto ended = co_await load_->finish();
  if (!ended.ok()) co_return std::move(ended).error();
  if (ended->state != loads::State::kDone)
    s_.notice("the rows are committed but not seen in every partition yet: " + ended->error);
  co_return count;
}

}  // namespace outlast::sql
