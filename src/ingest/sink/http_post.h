#pragma once
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::ingest {

struct HttpTarget {
  std::string host, port, path;
  /// "http://HOST[:PORT][/PATH]"; kInvalidArgument with an example.
  static Result<HttpTarget> parse(const std::string& url);
};

/// Blocking POSTs to one server over one connection that is kept.
/// Thread-safety: post() on one thread at a time, stop() on any.
class HttpPoster {
 public:
  HttpPoster(HttpTarget target, Duration timeout);
  ~HttpPoster();
  struct Answer {
    unsigned status{0};
    std::string body;
  };
  using Headers = std::vector<std::pair<std::string, std::string>>;
  /// Errors: kUnavailable (no answer in time), kShuttingDown (after stop()).
  Result<Answer> post(const Headers& headers, std::string body);
  /// Ends a post under way, and all that follow.
  void stop();

 private:
  struct Connection;
  std::shared_ptr<Connection> connection_;
};

}  // namespace outlast::ingest
