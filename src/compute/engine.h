#pragma once
#include <boost/asio/awaitable.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "compute/plan.h"
#include "compute/workspace.h"
#include "executor/channel.h"
#include "executor/sql_pool.h"
#include "gateway/session.h"

namespace outlast::compute {

struct Parameters {
  std::size_t threads{4};   ///< For SQLite over the rows of fragments.
  std::size_t parallel{8};  ///< Fragments of one query that run at once, each with one piece of rows in flight.
  int restarts{3};          ///< Of one range's part, when its node left after the first row.
};

/// What an engine needs of its node. Functions may be called from any thread.
struct EnginePorts {
  std::function<std::unique_ptr<gateway::Session>()> open_session;
  Dress dress;
  /// Nodes that may run a query whole, the best first; each channel is a place to try. May be empty: this node runs it.
  std::function<std::vector<std::unique_ptr<executor::Channel>>()> places{};
};

/// A plan that runs. Thread-safety: one coroutine at a time; interrupt() from any thread.
class Query {
 public:
  virtual ~Query() = default;
  /// Runs all fragments, then the final statement up to its first piece. `limits`: the statement's.
  virtual boost::asio::awaitable<Result<gateway::Rows>> start(gateway::Limits limits, std::uint64_t max_rows) = 0;
  /// The next piece, while Rows::portal says that there is one.
  virtual boost::asio::awaitable<Result<gateway::Rows>> fetch(gateway::Limits limits, std::uint64_t max_rows) = 0;
  virtual void interrupt() = 0;
};

/// Runs plans on this node. Thread-safety: any thread. Lifetime: `clock` outlives it; it outlives its queries.
class Engine {
 public:
  Engine(EnginePorts ports, const Clock& clock, Parameters parameters = {})
      : ports_(std::move(ports)), clock_(clock), parameters_(parameters) {}
  /// At one of the places, else here.
  std::shared_ptr<Query> make(Plan plan);
  /// Here.
  std::shared_ptr<Query> make_local(Plan plan);

  const EnginePorts& ports() const { return ports_; }
  const Clock& clock() const { return clock_; }
  const Parameters& parameters() const { return parameters_; }
  /// Its threads begin with the first query.
  executor::SqlPool& pool();

 private:
  const EnginePorts ports_;
  const Clock& clock_;
  const Parameters parameters_;
  std::once_flag once_;
  std::unique_ptr<executor::SqlPool> pool_;
};

/// Tasks on a pool one after another: of one query, so that it never holds more than one thread.
class Serial : public std::enable_shared_from_this<Serial> {
 public:
  explicit Serial(executor::SqlPool& pool) : pool_(pool) {}
  void post(Task task);

 private:
  void run_next();
  executor::SqlPool& pool_;
  std::mutex mutex_;
  std::deque<Task> waiting_;
  bool busy_{false};
};

}  // namespace outlast::compute
