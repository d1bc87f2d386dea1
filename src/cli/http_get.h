#pragma once
#include <string>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::cli {

struct HttpAnswer {
  int status{0};
  std::string body;
};

/// One blocking GET of a node's own HTTP server, for commands that run beside it; `address` is "host:port".
/// Errors: kUnavailable (nobody answers within `timeout`), kProtocolViolation (that is no HTTP).
Result<HttpAnswer> http_get(const std::string& address, const std::string& path, Duration timeout);
/// The same as a POST without a body.
Result<HttpAnswer> http_post(const std::string& address, const std::string& path, Duration timeout);
/// For a value in a query: everything but letters, digits and -._~ as %XX. Pure.
std::string url_encoded(std::string_view text);

/// The status and body of a whole answer as read until its end. Pure.
Result<HttpAnswer> parse_http_answer(std::string_view bytes);

}  // namespace outlast::cli
