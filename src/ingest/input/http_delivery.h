#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "ingest/input/input.h"

namespace outlast::ingest {

/// What a request is answered.
struct HttpAnswer {
  int status{200};
  std::string body;         ///< JSON.
  unsigned retry_after{0};  ///< Seconds; 0: not said.

  static HttpAnswer failed(int status, const std::string& message, unsigned retry_after = 0);
};

/// Under which name the records of a request go to the intake.
struct HttpLabel {
  std::string tag;
  std::optional<ChunkId> id;
  RecordForm form{RecordForm::kAsCame};
};

/// The loop's context, as long as the loop is there: answers of an intake may come on any thread and late.
using SharedContext = std::shared_ptr<boost::asio::io_context>;

/// Gives the records of one request to the intake and waits for its Ack.
class HttpDelivery {
 public:
  HttpDelivery(const InputOptions& options, Intake& intake, std::shared_ptr<InputStats> stats,
               std::weak_ptr<boost::asio::io_context> context);
  ~HttpDelivery();
  /// Thread-safety: the context's thread. Lifetime: the delivery outlives it.
  boost::asio::awaitable<HttpAnswer> deliver(HttpLabel label, RecordBatch batch, std::uint64_t bytes);
  /// Whatever is waited for is waited for no longer.
  void give_up();

 private:
  struct Told;
  Intake::Taken put(const HttpLabel& label, RecordBatch& batch, Callback<void> done);
  boost::asio::awaitable<bool> told_until(std::shared_ptr<Told> told, std::chrono::steady_clock::time_point deadline);
  HttpAnswer taken(const Result<void>& ack, std::uint64_t records, std::uint64_t bytes);

  const InputOptions& options_;
  Intake& intake_;
  std::shared_ptr<InputStats> stats_;
  std::weak_ptr<boost::asio::io_context> context_;
  TokenBucket bucket_;
  std::set<std::shared_ptr<Told>> waiting_;
  bool given_up_{false};
};

}  // namespace outlast::ingest
