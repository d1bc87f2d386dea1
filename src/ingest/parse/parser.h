#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "ingest/parse/record.h"
#include "ingest/record_batch.h"

namespace outlast::ingest {

enum class ParserKind : std::uint8_t { kNone, kJson, kRegexp, kSyslog, kLogfmt };
/// "none", "json", …; kInvalidArgument names all.
Result<ParserKind> parser_kind_from(std::string_view name);

struct ParserOptions {
  ParserKind kind{ParserKind::kNone};
  std::string expression;        ///< regexp: RE2 with named groups; "/…/" and "(?<name>…)" as Fluentd writes them.
  std::string time_key{"time"};  ///< json, regexp, logfmt: the field that is the record's time.
  std::int32_t utc_offset{0};    ///< syslog: seconds east of UTC of timestamps that say no offset (RFC 3164).
  friend bool operator==(const ParserOptions&, const ParserOptions&) = default;
};

/// Reads the fields out of a record. Runs when a chunk leaves for its sink, never on the way in.
/// Thread-safety: any thread.
class Parser {
 public:
  virtual ~Parser() = default;
  /// Fills time, host, fields; or returns why it cannot, in a few words. `record` begins with the time and the host
  /// that the record came with.
  virtual Result<void> parse(std::string_view bytes, Record& record) const = 0;
};

/// kInvalidArgument: the expression is none, or has no named group.
Result<std::unique_ptr<Parser>> make_parser(const ParserOptions& options);

/// The parser of each tag.
/// Thread-safety: decode() from any thread.
class Decoder {
 public:
  Decoder();
  /// Records with `tag` go through this parser. Errors: as make_parser.
  Result<void> add(const std::string& tag, const ParserOptions& options);
  /// A record that cannot be parsed comes whole, with its error. A tag that nobody added has no parser ("none").
  Record decode(const std::string& tag, const RawRecord& raw, RecordForm form = RecordForm::kAsCame) const;

 private:
  std::map<std::string, std::unique_ptr<Parser>> parsers_;
  std::unique_ptr<Parser> none_;
};

/// "192.0.2.7:514" and "[2001:db8::1]:514" without the port.
std::string_view host_of_peer(std::string_view peer);

// One for each kind; make_parser() is what to call.
std::unique_ptr<Parser> make_json_parser(const ParserOptions& options);
Result<std::unique_ptr<Parser>> make_regexp_parser(const ParserOptions& options);
std::unique_ptr<Parser> make_syslog_parser(const ParserOptions& options);
std::unique_ptr<Parser> make_logfmt_parser(const ParserOptions& options);

/// RFC 3339, or seconds since 1970 with or without a fraction.
std::optional<std::int64_t> time_of_text(std::string_view text);

}  // namespace outlast::ingest
