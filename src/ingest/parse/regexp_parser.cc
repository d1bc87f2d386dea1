// The one file that knows RE2.
#include <re2/re2.h>

#include <vector>

#include "ingest/parse/parser.h"

namespace outlast::ingest {
namespace {

/// Fluentd's way of writing an expression as RE2's: without the slashes, "(?<name>" as "(?P<name>".
std::string as_re2(std::string_view expression) {
  if (expression.size() >= 2 && expression.starts_with('/') && expression.ends_with('/'))
    expression = expression.substr(1, expression.size() - 2);
  std::string out;
  for (std::size_t at = 0; at < expression.size(); ++at) {
    const std::string_view rest = expression.substr(at);
    const bool escaped = rest.front() == '\\' && rest.size() > 1;
    const bool named = rest.starts_with("(?<") && rest.size() > 3 && rest[3] != '=' && rest[3] != '!';
    out += named ? "(?P<" : std::string(rest.substr(0, escaped ? 2 : 1));
    at += named ? 2 : escaped ? 1 : 0;
  }
  return out;
}

class RegexpParser final : public Parser {
 public:
  RegexpParser(const ParserOptions& options, const std::string& expression, const RE2::Options& re2)
      : time_key_(options.time_key), expression_(expression, re2) {
    for (const auto& [name, group] : expression_.NamedCapturingGroups()) names_.emplace_back(name, group);
  }
  const RE2& expression() const { return expression_; }
  bool has_names() const { return !names_.empty(); }

  Result<void> parse(std::string_view bytes, Record& record) const override {
    std::vector<re2::StringPiece> groups(static_cast<std::size_t>(expression_.NumberOfCapturingGroups()) + 1);
    const re2::StringPiece text(bytes.data(), bytes.size());
    if (!expression_.Match(text, 0, text.size(), RE2::UNANCHORED, groups.data(), static_cast<int>(groups.size())))
      return Error(Errc::kInvalidText, "the expression does not match");
    for (const auto& [name, group] : names_) {
      const re2::StringPiece found = groups[static_cast<std::size_t>(group)];
      if (found.data() == nullptr) continue;  // an alternative that did not take part
      const std::string_view value(found.data(), found.size());
      if (name == time_key_)
        if (const auto micros = time_of_text(value)) record.time_micros = *micros;
      if (name == "host") record.host = value;
      record.fields.emplace(name, value);
    }
    return {};
  }

 private:
  std::string time_key_;
  RE2 expression_;
  std::vector<std::pair<std::string, int>> names_;
};

}  // namespace

Result<std::unique_ptr<Parser>> make_regexp_parser(const ParserOptions& options) {
  RE2::Options re2;
  re2.set_log_errors(false);
  re2.set_encoding(RE2::Options::EncodingLatin1);  // records may hold any bytes
  auto parser = std::make_unique<RegexpParser>(options, as_re2(options.expression), re2);
  if (!parser->expression().ok())
    return Error(Errc::kInvalidArgument,
                 "\"" + options.expression + "\" is no regular expression of RE2: " + parser->expression().error());
  if (!parser->has_names())
    return Error(Errc::kInvalidArgument,
                 "\"" + options.expression + "\" has no named group: write (?<name>…) for each field");
  return std::unique_ptr<Parser>(std::move(parser));
}

}  // namespace outlast::ingest
