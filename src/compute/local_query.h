#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "compute/engine.h"
#include "compute/workspace.h"

namespace outlast::compute {

/// A query whose rows come together on this node. A few workers, each with a gateway session of its own, take one range
/// of a fragment after another; every piece of rows is in the workspace before its session asks for the next.
class LocalQuery final : public Query, public std::enable_shared_from_this<LocalQuery> {
 public:
  LocalQuery(Engine& engine, Plan plan);
  ~LocalQuery() override;
  boost::asio::awaitable<Result<gateway::Rows>> start(gateway::Limits limits, std::uint64_t max_rows) override;
  boost::asio::awaitable<Result<gateway::Rows>> fetch(gateway::Limits limits, std::uint64_t max_rows) override;
  void interrupt() override;

 private:
  /// A fragment in one range.
  struct Part {
    std::size_t fragment;
    RangeId range;
    std::vector<Workspace::Span> rows{};  ///< What it has given so far.
  };
  using SessionPtr = std::shared_ptr<gateway::Session>;

  void begin_operation(const gateway::Limits& limits);
  Result<gateway::Rows> end_operation(Result<gateway::Rows> rows);
  boost::asio::awaitable<Result<void>> run_parts();
  boost::asio::awaitable<void> work();
  boost::asio::awaitable<Result<void>> run_part(SessionPtr session, Part& part);
  boost::asio::awaitable<Result<void>> stream_part(SessionPtr session, Part& part);
  boost::asio::awaitable<Result<void>> keep(Part& part, std::string rows);
  /// Runs `step` on the pool; a workspace is used by nothing else.
  template <class T, class Step>
  boost::asio::awaitable<Result<T>> on_pool(Step step);
  Result<void> go_on() const;
  Result<void> give_time(gateway::Session& session) const;
  void fail(Error error);
  void interrupt_sessions();

  Engine& engine_;
  const Plan plan_;
  const std::shared_ptr<Serial> serial_;
  executor::StopSignal stop_;
  Instant deadline_{Instant::max()};
  gateway::Limits limits_;
  std::unique_ptr<Workspace> workspace_;
  std::vector<Part> parts_;
  std::size_t next_part_{0};
  std::optional<Error> failed_;  ///< The first error of a part.

  std::mutex mutex_;  ///< Of what interrupt() touches.
  std::set<SessionPtr> sessions_;
  boost::asio::any_io_executor executor_;
};

}  // namespace outlast::compute
