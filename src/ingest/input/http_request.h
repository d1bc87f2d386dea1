#pragma once
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace outlast::ingest {

/// One HTTP request while it comes in. At every moment it can be turned back into bytes, from which whoever reads on
/// makes the same request. (Boost.Beast stays inside http_loop and this.)
/// Thread-safety: none.
class HttpRequest {
 public:
  using Head = boost::beast::http::request<boost::beast::http::string_body>;
  enum class Stage : std::uint8_t { kHead, kBody, kDone };
  static constexpr std::uint32_t kHeadMax = 16 << 10;

  explicit HttpRequest(std::size_t body_max);
  HttpRequest(const HttpRequest&) = delete;
  HttpRequest& operator=(const HttpRequest&) = delete;
  /// Takes what it understands out of the buffer, at most up to the next stage. After an error nothing more is read.
  boost::system::error_code read(boost::beast::flat_buffer& buffer);
  Stage stage() const;
  /// How many bytes are worth reading at once.
  std::size_t wanted() const;
  /// Precondition: the stage kHead is over.
  const Head& head() const { return parser_.get(); }
  bool keep_alive() const { return parser_.keep_alive(); }
  std::string take_body() { return std::move(parser_.get().body()); }
  /// What was taken out of buffers until now. A client that was told to go on (100) is not told again.
  std::string bytes() const;

 private:
  boost::beast::http::request_parser<boost::beast::http::string_body> parser_;
  std::string begun_;           ///< What was taken of a head that is not whole.
  std::uint64_t announced_{0};  ///< By the headers of chunks (Transfer-Encoding) until now.
  std::function<void(std::uint64_t, boost::beast::string_view, boost::system::error_code&)> on_chunk_;
};

}  // namespace outlast::ingest
