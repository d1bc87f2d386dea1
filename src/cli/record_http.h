#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace outlast::cli {

// HTTP/1.1 as a naive sender of records speaks it, over a connection that it keeps. Pure.

std::string post_request(const std::string& host, const std::string& body);

struct PostAnswer {
  int status{0};
  bool close{false};  ///< The server will end the connection.
};
/// Empty: the answer is not whole yet. What is no HTTP has status 0.
std::optional<PostAnswer> read_post_answer(std::string_view bytes);

}  // namespace outlast::cli
