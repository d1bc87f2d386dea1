#include "ingest/parse/parser.h"

#include <charconv>
#include <cmath>

#include "ingest/parse/parsed.h"
#include "ingest/parse/timestamp.h"

namespace outlast::ingest {
namespace {

class NoParser final : public Parser {
 public:
  Result<void> parse(std::string_view bytes, Record& record) const override {
    record.fields.emplace("message", bytes);
    return {};
  }
};

}  // namespace

Result<ParserKind> parser_kind_from(std::string_view name) {
  if (name == "none") return ParserKind::kNone;
  if (name == "json") return ParserKind::kJson;
  if (name == "regexp") return ParserKind::kRegexp;
  if (name == "syslog") return ParserKind::kSyslog;
  if (name == "logfmt") return ParserKind::kLogfmt;
  return Error(Errc::kInvalidArgument,
               "there is no parser \"" + std::string(name) + "\"; there are none, json, regexp, syslog and logfmt");
}

Result<std::unique_ptr<Parser>> make_parser(const ParserOptions& options) {
  switch (options.kind) {
    case ParserKind::kJson:
      return make_json_parser(options);
    case ParserKind::kRegexp:
      return make_regexp_parser(options);
    case ParserKind::kSyslog:
      return make_syslog_parser(options);
    case ParserKind::kLogfmt:
      return make_logfmt_parser(options);
    case ParserKind::kNone:
      break;
  }
  return std::unique_ptr<Parser>(std::make_unique<NoParser>());
}

Decoder::Decoder() : none_(std::make_unique<NoParser>()) {}

Result<void> Decoder::add(const std::string& tag, const ParserOptions& options) {
  ASSIGN_OR_RETURN(parsers_[tag], make_parser(options));
  return {};
}

Record Decoder::decode(const std::string& tag, const RawRecord& raw, RecordForm form) const {
  if (form == RecordForm::kParsed) return read_parsed(tag, raw);
  Record record{.time_micros = raw.received_micros, .host = std::string(host_of_peer(raw.peer)), .tag = tag};
  const auto found = parsers_.find(tag);
  const Parser& parser = found == parsers_.end() ? *none_ : *found->second;
  const auto parsed = parser.parse(raw.bytes, record);
  if (parsed.ok()) return record;
  return {.time_micros = raw.received_micros,
          .host = std::string(host_of_peer(raw.peer)),
          .tag = tag,
          .raw = std::string(raw.bytes),
          .error = parsed.error().message};
}

std::string_view host_of_peer(std::string_view peer) {
  if (peer.starts_with('[')) return peer.substr(1, peer.find(']') - 1);
  const auto colon = peer.find(':');
  // More than one colon is an IPv6 address without a port.
  return peer.find(':', colon == std::string_view::npos ? colon : colon + 1) == std::string_view::npos
             ? peer.substr(0, colon)
             : peer;
}

std::optional<std::int64_t> time_of_text(std::string_view text) {
  if (const auto micros = parse_rfc3339(text)) return micros;
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  constexpr double kMost = 9e12;  // microseconds of it fit
  if (error != std::errc{} || end != text.data() + text.size() || !(std::abs(seconds) < kMost)) return std::nullopt;
  return std::llround(seconds * 1e6);
}

}  // namespace outlast::ingest
