#include "ingest/input/http_request.h"

#include <algorithm>
#include <boost/beast/http/error.hpp>
#include <charconv>

namespace outlast::ingest {
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using boost::system::error_code;

namespace {
constexpr std::size_t kReadMax = 128 << 10;

void append_line(std::string& to, beast::string_view name, std::string_view between, beast::string_view value) {
  to.append(name.data(), name.size()).append(between).append(value.data(), value.size()).append("\r\n");
}

/// The head of a chunk of `size` bytes.
std::string chunk_head(std::uint64_t size) {
  char hex[16];
  const auto end = std::to_chars(hex, hex + sizeof hex, size, 16);
  return std::string(hex, end.ptr) + "\r\n";
}
}  // namespace

HttpRequest::HttpRequest(std::size_t body_max)
    : on_chunk_([this](std::uint64_t size, beast::string_view, error_code&) { announced_ += size; }) {
  parser_.body_limit(body_max);
  parser_.header_limit(kHeadMax);
  parser_.on_chunk_header(on_chunk_);
}

error_code HttpRequest::read(beast::flat_buffer& buffer) {
  const Stage before = stage();
  while (buffer.size() > 0 && stage() == before && before != Stage::kDone) {
    error_code error;
    const std::size_t taken = parser_.put(buffer.data(), error);
    if (before == Stage::kHead) begun_.append(static_cast<const char*>(buffer.data().data()), taken);
    buffer.consume(taken);
    // The parser limits what it does not understand yet of a head, and nothing of the head of a chunk.
    const bool more = error == bhttp::error::need_more;
    if (begun_.size() + (more ? buffer.size() : 0) > kHeadMax) return bhttp::error::header_limit;
    if (more) return {};
    if (error) return error;
  }
  if (stage() == Stage::kBody) parser_.eager(true);
  if (stage() != Stage::kHead) begun_ = std::string();
  return {};
}

HttpRequest::Stage HttpRequest::stage() const {
  if (!parser_.is_header_done()) return Stage::kHead;
  return parser_.is_done() ? Stage::kDone : Stage::kBody;
}

std::size_t HttpRequest::wanted() const {
  if (stage() == Stage::kHead) return kHeadMax;
  const auto left = parser_.content_length_remaining();
  return left ? static_cast<std::size_t>(std::clamp<std::uint64_t>(*left, 1, kReadMax)) : kReadMax;
}

std::string HttpRequest::bytes() const {
  if (stage() == Stage::kHead) return begun_;
  const Head& head = parser_.get();
  std::string out;
  append_line(out, head.method_string(), " ",
              std::string(head.target()) + " HTTP/" + std::to_string(head.version() / 10) + "." +
                  std::to_string(head.version() % 10));
  for (const auto& field : head)
    if (field.name() != bhttp::field::expect) append_line(out, field.name_string(), ": ", field.value());
  out += "\r\n";
  // The chunks that have come are one, which ends where the last of them would.
  if (announced_ > 0) out += chunk_head(announced_);
  return out += head.body();
}

}  // namespace outlast::ingest
