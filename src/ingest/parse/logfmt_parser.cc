#include "ingest/parse/parser.h"

namespace outlast::ingest {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

class LogfmtParser final : public Parser {
 public:
  explicit LogfmtParser(const ParserOptions& options) : time_key_(options.time_key) {}
  Result<void> parse(std::string_view bytes, Record& record) const override {
    for (std::string_view rest = bytes; skip_spaces(rest);) {
      std::size_t end = 0;
      while (end < rest.size() && !is_space(rest[end]) && rest[end] != '=' && rest[end] != '"') ++end;
      const std::string_view key = rest.substr(0, end);
      if (key.empty()) return Error(Errc::kInvalidText, "a value stands there without a key");
      rest.remove_prefix(end);
      if (!rest.starts_with('=')) {
        if (rest.starts_with('"')) return Error(Errc::kInvalidText, "a quote stands in a key");
        record.fields.insert_or_assign(key, true);  // a key without a value is a flag
        continue;
      }
      rest.remove_prefix(1);
      std::string value;
      TRY(read_value(rest, value));
      if (key == time_key_)
        if (const auto micros = time_of_text(value)) record.time_micros = *micros;
      if (key == "host") record.host = value;
      record.fields.insert_or_assign(key, value);
    }
    if (record.fields.empty()) return Error(Errc::kInvalidText, "there is no key=value");
    return {};
  }

 private:
  static bool skip_spaces(std::string_view& rest) {
    while (!rest.empty() && is_space(rest.front())) rest.remove_prefix(1);
    return !rest.empty();
  }

  static Result<void> read_value(std::string_view& rest, std::string& value) {
    if (!rest.starts_with('"')) {
      std::size_t end = 0;
      while (end < rest.size() && !is_space(rest[end])) ++end;
      value = rest.substr(0, end);
      rest.remove_prefix(end);
      return {};
    }
    rest.remove_prefix(1);
    while (!rest.empty() && rest.front() != '"') {
      char c = rest.front();
      if (c == '\\' && rest.size() > 1) {
        rest.remove_prefix(1);
        c = rest.front() == 'n' ? '\n' : rest.front() == 't' ? '\t' : rest.front() == 'r' ? '\r' : rest.front();
      }
      value += c;
      rest.remove_prefix(1);
    }
    if (rest.empty()) return Error(Errc::kInvalidText, "a quoted value does not end");
    rest.remove_prefix(1);
    return {};
  }

  std::string time_key_;
};

}  // namespace

std::unique_ptr<Parser> make_logfmt_parser(const ParserOptions& options) {
  return std::make_unique<LogfmtParser>(options);
}

}  // namespace outlast::ingest
