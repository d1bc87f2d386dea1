#include "cli/record_http.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "cli/http_get.h"

namespace outlast::cli {
namespace {
/// The value of a header in lower-case `head`, empty when it is not there.
std::string_view header(std::string_view head, std::string_view name) {
  const auto at = head.find("\r\n" + std::string(name) + ": ");
  if (at == std::string_view::npos) return {};
  const auto value = at + name.size() + 4;
  return head.substr(value, head.find("\r\n", value) - value);
}
}  // namespace

std::string post_request(const std::string& host, const std::string& body) {
  return fmt::format(
      "POST / HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n{}", host,
      body.size(), body);
}

std::optional<PostAnswer> read_post_answer(std::string_view bytes) {
  const auto end = bytes.find("\r\n\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const auto answer = parse_http_answer(bytes);
  if (!answer.ok()) return PostAnswer{.status = 0, .close = true};
  std::string head(bytes.substr(0, end + 2));
  std::ranges::transform(head, head.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::string_view length = header(head, "content-length");
  std::size_t body = 0;
  if (std::from_chars(length.data(), length.data() + length.size(), body).ec != std::errc{})
    return PostAnswer{.status = 0, .close = true};
  if (answer->body.size() < body) return std::nullopt;
  return PostAnswer{.status = answer->status, .close = header(head, "connection") == "close"};
}

}  // namespace outlast::cli
