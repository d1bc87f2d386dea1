#include <algorithm>

#include "ingest/parse/parser.h"
#include "ingest/parse/timestamp.h"

namespace outlast::ingest {
namespace {
namespace json = boost::json;

constexpr std::size_t kFields = 7;  // as many as a record can have

Error malformed(const std::string& what) {
  return {Errc::kInvalidText, what};
}

/// "<34>": facility * 8 + severity.
Result<int> read_priority(std::string_view& rest) {
  const auto end = rest.substr(0, 5).find('>');
  if (!rest.starts_with('<') || end == std::string_view::npos || end < 2)
    return malformed("there is no <priority> at the front");
  int priority = 0;
  for (const char c : rest.substr(1, end - 1)) {
    if (c < '0' || c > '9') return malformed("the <priority> is no number");
    priority = priority * 10 + (c - '0');
  }
  if (priority > 191) return malformed("the <priority> is above 191");
  rest.remove_prefix(end + 1);
  return priority;
}

/// The next word of an RFC 5424 header; "-" is none.
Result<std::string_view> header_word(std::string_view& rest, const char* what) {
  const auto end = rest.find(' ');
  if (end == std::string_view::npos || end == 0) return malformed(std::string("the header ends before its ") + what);
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(end + 1);
  return word;
}

void put(json::object& fields, std::string_view name, std::string_view word) {
  if (word != "-") fields.emplace(name, word);
}

/// SD-NAME (RFC 5424, 6.3.2): printable, without '=', ' ', ']' and '"'.
std::string_view sd_name(std::string_view& rest) {
  std::size_t end = 0;
  while (end < rest.size() && rest[end] > ' ' && rest[end] < '\x7f' && rest[end] != '=' && rest[end] != ']' &&
         rest[end] != '"')
    ++end;
  const std::string_view name = rest.substr(0, end);
  rest.remove_prefix(end);
  return name;
}

/// `"value"` with \" \\ \] inside; a backslash before anything else is itself (6.3.3).
Result<std::string> sd_value(std::string_view& rest) {
  if (!rest.starts_with('"')) return malformed("a parameter of the structured data has no quoted value");
  rest.remove_prefix(1);
  std::string value;
  while (!rest.empty() && rest.front() != '"') {
    if (rest.front() == '\\' && rest.size() > 1 && (rest[1] == '"' || rest[1] == '\\' || rest[1] == ']'))
      rest.remove_prefix(1);
    value += rest.front();
    rest.remove_prefix(1);
  }
  if (rest.empty()) return malformed("a value in the structured data does not end");
  rest.remove_prefix(1);
  return value;
}

Result<void> read_element(std::string_view& rest, json::object& elements) {
  rest.remove_prefix(1);  // '['
  const std::string_view id = sd_name(rest);
  if (id.empty()) return malformed("an element of the structured data has no name");
  json::object parameters;
  while (rest.starts_with(' ')) {
    rest.remove_prefix(1);
    const std::string_view name = sd_name(rest);
    if (name.empty() || !rest.starts_with('=')) return malformed("a parameter of the structured data has no name");
    rest.remove_prefix(1);
    ASSIGN_OR_RETURN(const std::string value, sd_value(rest));
    parameters.insert_or_assign(name, value);
  }
  if (!rest.starts_with(']')) return malformed("an element of the structured data does not end");
  rest.remove_prefix(1);
  elements.insert_or_assign(id, std::move(parameters));
  return {};
}

/// Also eats the space in front of the message.
Result<void> read_structured_data(std::string_view& rest, json::object& fields) {
  if (rest.starts_with('-')) {
    rest.remove_prefix(1);
  } else {
    if (!rest.starts_with('[')) return malformed("the structured data begins with neither - nor [");
    json::object elements;
    while (rest.starts_with('[')) TRY(read_element(rest, elements));
    fields.emplace("structured_data", std::move(elements));
  }
  if (rest.empty()) return {};
  if (!rest.starts_with(' ')) return malformed("there is no space behind the structured data");
  rest.remove_prefix(1);
  return {};
}

Result<void> parse_5424(std::string_view rest, Record& record) {
  ASSIGN_OR_RETURN(const std::string_view time, header_word(rest, "timestamp"));
  if (time != "-") {
    const auto micros = parse_rfc3339(time);
    if (!micros || time[10] != 'T') return malformed("the timestamp is none of RFC 3339");
    record.time_micros = *micros;
  }
  ASSIGN_OR_RETURN(const std::string_view host, header_word(rest, "host"));
  if (host != "-") record.host = host;
  ASSIGN_OR_RETURN(const std::string_view app, header_word(rest, "application"));
  put(record.fields, "app_name", app);
  ASSIGN_OR_RETURN(const std::string_view process, header_word(rest, "process id"));
  put(record.fields, "proc_id", process);
  ASSIGN_OR_RETURN(const std::string_view message_id, header_word(rest, "message id"));
  put(record.fields, "msg_id", message_id);
  TRY(read_structured_data(rest, record.fields));
  constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";
  if (rest.starts_with(kByteOrderMark)) rest.remove_prefix(kByteOrderMark.size());
  record.fields.emplace("message", rest);
  return {};
}

bool is_name(char c) {
  return c > ' ' && c < '\x7f' && c != ':' && c != '[' && c != ']';
}

/// "su[230]: ", "su: ": eaten when `rest` begins with it.
void read_tag(std::string_view& rest, json::object& fields) {
  std::size_t end = 0;
  while (end < rest.size() && is_name(rest[end])) ++end;
  std::string_view behind = rest.substr(end);
  std::string_view process;
  if (behind.starts_with('[')) {
    const auto close = behind.find(']');
    if (close == std::string_view::npos) return;
    process = behind.substr(1, close - 1);
    behind.remove_prefix(close + 1);
  }
  if (end == 0 || !behind.starts_with(':')) return;
  fields.emplace("app_name", rest.substr(0, end));
  if (!process.empty()) fields.emplace("proc_id", process);
  behind.remove_prefix(1);
  if (behind.starts_with(' ')) behind.remove_prefix(1);
  rest = behind;
}

/// RFC 3164 describes what programs did, not what they have to do: what is not there is left out.
void parse_3164(std::string_view rest, std::int32_t utc_offset, Record& record) {
  if (const auto time = parse_front_timestamp(rest, record.time_micros, utc_offset)) {
    record.time_micros = time->micros;
    rest.remove_prefix(time->length);
    if (rest.starts_with(':')) rest.remove_prefix(1);
    if (rest.starts_with(' ')) rest.remove_prefix(1);
    // A word that ends with a colon or has a process id is the program, and there is no host: syslog(3) sends none.
    const auto end = rest.find(' ');
    const std::string_view word = rest.substr(0, end);
    const bool is_tag = word.ends_with(':') || word.contains('[');
    if (!word.empty() && !is_tag && end != std::string_view::npos) {
      record.host = word;
      rest.remove_prefix(end + 1);
    }
  }
  read_tag(rest, record.fields);
  record.fields.emplace("message", rest);
}

class SyslogParser final : public Parser {
 public:
  explicit SyslogParser(const ParserOptions& options) : utc_offset_(options.utc_offset) {}
  Result<void> parse(std::string_view bytes, Record& record) const override {
    std::string_view rest = bytes;
    ASSIGN_OR_RETURN(const int priority, read_priority(rest));
    record.fields.reserve(kFields);
    record.fields.emplace("facility", priority / 8);
    record.fields.emplace("severity", priority % 8);
    if (rest.starts_with("1 ")) return parse_5424(rest.substr(2), record);
    parse_3164(rest, utc_offset_, record);
    return {};
  }

 private:
  std::int32_t utc_offset_;
};

}  // namespace

std::unique_ptr<Parser> make_syslog_parser(const ParserOptions& options) {
  return std::make_unique<SyslogParser>(options);
}

}  // namespace outlast::ingest
