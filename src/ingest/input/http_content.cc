#include "ingest/input/http_content.h"

#include <boost/asio/error.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <iterator>
#include <limits>

#include "base/parse.h"
#include "ingest/tag_pattern.h"

namespace outlast::ingest {
namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using boost::system::error_code;

namespace {
std::string_view text(beast::string_view from) {
  return {from.data(), from.size()};
}

std::optional<Packing> packing_of(std::string_view encoding) {
  if (encoding.empty() || beast::iequals(encoding, "identity")) return Packing::kNone;
  if (beast::iequals(encoding, "gzip") || beast::iequals(encoding, "x-gzip")) return Packing::kGzip;
  if (beast::iequals(encoding, "zstd")) return Packing::kZstd;
  return std::nullopt;
}

/// nullopt: there is none, or `wrong` says what is wrong with it.
std::optional<ChunkId> chunk_id(const HttpRequest::Head& head, std::optional<HttpAnswer>& wrong) {
  const auto [first, last] = head.equal_range(kChunkHeader);
  if (first == last) return std::nullopt;
  auto id = ChunkId::from(text(first->value()));
  if (id.ok() && std::next(first) == last) return *id;
  wrong = HttpAnswer::failed(400, std::string(kChunkHeader) + " must be one id such as " + ChunkId{1, 1}.to_string() +
                                      ": two numbers of 16 hexadecimal digits each");
  return std::nullopt;
}

HttpAnswer refused(const Error& why) {
  return HttpAnswer::failed(why.code == Errc::kTooLarge ? 413 : 400, why.message);
}
}  // namespace

std::optional<HttpAnswer> HttpContent::read(const HttpRequest::Head& head, const InputOptions& options) {
  if (head.method() != bhttp::verb::post) return HttpAnswer::failed(405, "send records as the body of a POST request");
  const auto known_format = body_format(text(head[bhttp::field::content_type]));
  const auto known_packing = packing_of(text(head[bhttp::field::content_encoding]));
  if (!known_format)
    return HttpAnswer::failed(415, "send application/x-ndjson, application/json or text/plain as the Content-Type");
  if (!known_packing) return HttpAnswer::failed(415, "send gzip, zstd or nothing as the Content-Encoding");
  format = *known_format;
  packing = *known_packing;
  std::optional<HttpAnswer> wrong;
  label = {.tag = options.tag, .id = chunk_id(head, wrong)};
  if (wrong || format != BodyFormat::kRecords || !label.id || head.count(kTagHeader) == 0) return wrong;
  label.tag = text(head[kTagHeader]);
  label.form = RecordForm::kParsed;
  if (!is_tag(label.tag)) return HttpAnswer::failed(400, std::string(kTagHeader) + " is no tag");
  return std::nullopt;
}

std::optional<HttpAnswer> HttpContent::split(std::string& body, const InputOptions& options, std::string_view peer,
                                             RecordBatch& batch) const {
  if (packing != Packing::kNone) {
    auto unpacked = unpack(packing, body, options.unpacked_max);
    if (!unpacked.ok()) return refused(unpacked.error());
    body = std::move(*unpacked);
  }
  // What another node has taken in is not too long: parsed, it is longer than it was.
  const std::size_t record_max =
      label.form == RecordForm::kParsed ? std::numeric_limits<std::uint32_t>::max() : options.message_size_max;
  const auto done = split_body(format, body, record_max, wall_now_micros(), peer, batch);
  return done.ok() ? std::nullopt : std::optional(refused(done.error()));
}

HttpAnswer unreadable(error_code error, const InputOptions& options) {
  // A stream that has timed out is closed.
  const bool gone = error == beast::error::timeout || error == bhttp::error::end_of_stream ||
                    error == bhttp::error::partial_message || error.category() == asio::error::get_system_category() ||
                    error == asio::error::eof;
  if (gone) return {0, ""};
  if (error == bhttp::error::body_limit)
    return HttpAnswer::failed(413,
                              "the body is larger than " + format_bytes(options.body_max) + "; send it in several");
  if (error == bhttp::error::header_limit) return HttpAnswer::failed(431, "the headers are larger than 16 KiB");
  return HttpAnswer::failed(400, "this is no HTTP request: " + error.message());
}

}  // namespace outlast::ingest
