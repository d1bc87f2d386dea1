#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::cli {

struct HttpAnswer {
  int status{0};
  std::string location{};  ///< Where a redirect points.
  std::string body{};
};

/// One blocking GET of a node's own HTTP server, for commands that run beside it; `address` is "host:port".
/// Errors: kUnavailable (nobody answers within `timeout`), kProtocolViolation (that is no HTTP).
Result<HttpAnswer> http_get(const std::string& address, const std::string& path, Duration timeout);
/// The same as a POST without a body.
Result<HttpAnswer> http_post(const std::string& address, const std::string& path, Duration timeout);
/// Any request, with its body.
struct HttpRequest {
  std::string method, path;
  std::vector<std::string> headers{};  ///< "label: a"
  std::string body{};
};
Result<HttpAnswer> http_send(const std::string& address, const HttpRequest& request, Duration timeout);
/// "http://host:port/path?query" as its two parts; user and password are left out. Pure.
struct HttpTarget {
  std::string address, path;
};
std::optional<HttpTarget> split_http_url(std::string_view url);
/// For a value in a query: everything but letters, digits and -._~ as %XX. Pure.
std::string url_encoded(std::string_view text);

/// The status and body of a whole answer as read until its end. Pure.
Result<HttpAnswer> parse_http_answer(std::string_view bytes);

}  // namespace outlast::cli
