#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
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

/// The loop's context, as long as the loop is there: answers of an intake may come on any thread and late.
using SharedContext = std::shared_ptr<boost::asio::io_context>;

/// Gives the records of one request to the intake and waits for its Ack.
class HttpDelivery {
 public:
  HttpDelivery(const InputOptions& options, Intake& intake, std::shared_ptr<InputStats> stats,
               std::weak_ptr<boost::asio::io_context> context);
  /// Thread-safety: the context's thread. Lifetime: the delivery outlives it.
  boost::asio::awaitable<HttpAnswer> deliver(RecordBatch batch, std::uint64_t bytes);

 private:
  HttpAnswer taken(const Result<void>& ack, std::uint64_t records, std::uint64_t bytes);

  const InputOptions& options_;
  Intake& intake_;
  std::shared_ptr<InputStats> stats_;
  std::weak_ptr<boost::asio::io_context> context_;
  TokenBucket bucket_;
};

}  // namespace outlast::ingest
