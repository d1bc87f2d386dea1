#include "ingest/input/body.h"

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>
#include <cctype>

#include "base/parse.h"

namespace outlast::ingest {
namespace {
namespace json = boost::json;
constexpr unsigned char kDepthMax = 128;
constexpr std::string_view kSpace = " \t\r\n";

// Takes note of nothing: only whether it is JSON matters.
struct Ignore {
  static constexpr std::size_t max_object_size = -1, max_array_size = -1, max_key_size = -1, max_string_size = -1;
  using Code = json::error_code;
  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code&) { return true; }
  bool on_object_end(std::size_t, Code&) { return true; }
  bool on_array_begin(Code&) { return true; }
  bool on_array_end(std::size_t, Code&) { return true; }
  bool on_key_part(json::string_view, std::size_t, Code&) { return true; }
  bool on_key(json::string_view, std::size_t, Code&) { return true; }
  bool on_string_part(json::string_view, std::size_t, Code&) { return true; }
  bool on_string(json::string_view, std::size_t, Code&) { return true; }
  bool on_number_part(json::string_view, Code&) { return true; }
  bool on_int64(std::int64_t, json::string_view, Code&) { return true; }
  bool on_uint64(std::uint64_t, json::string_view, Code&) { return true; }
  bool on_double(double, json::string_view, Code&) { return true; }
  bool on_bool(bool, Code&) { return true; }
  bool on_null(Code&) { return true; }
  bool on_comment_part(json::string_view, Code&) { return true; }
  bool on_comment(json::string_view, Code&) { return true; }
};

json::parse_options options() {
  json::parse_options out;
  out.max_depth = kDepthMax;
  return out;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(kSpace), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(kSpace) + 1);
}

void skip_space(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpace), text.size()));
}

bool skip(std::string_view& text, char c) {
  skip_space(text);
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

class Splitter {
 public:
  Splitter(std::size_t record_max, std::int64_t received_micros, std::string_view peer, RecordBatch& batch)
      : record_max_(record_max), micros_(received_micros), peer_(peer), batch_(batch), parser_(options()) {}

  Result<void> array(std::string_view rest) {
    skip(rest, '[');
    if (!skip(rest, ']')) {
      do {
        skip_space(rest);
        ASSIGN_OR_RETURN(const std::size_t length, value_length(rest));
        TRY(add(trimmed(rest.substr(0, length))));
        rest.remove_prefix(length);
      } while (skip(rest, ','));
      if (!skip(rest, ']')) return bad("is followed by neither a comma nor the array's end", index_ - 1);
    }
    skip_space(rest);
    if (!rest.empty()) return bad("comes after the array's end; send records as one array or one a line", index_);
    return {};
  }

  Result<void> lines(std::string_view rest, bool checked) {
    while (!rest.empty()) {
      std::string_view line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(rest.size(), line.size() + 1));
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (checked) line = trimmed(line);
      if (line.empty()) continue;
      if (checked) {
        ASSIGN_OR_RETURN(const std::size_t length, value_length(line));
        if (length != line.size()) return bad("has something behind its JSON value", index_);
      }
      TRY(add(line));
    }
    return {};
  }

  Result<void> records(std::string_view body) {
    ASSIGN_OR_RETURN(const RecordBatch sent, RecordBatch::from(std::string(body)));
    RawRecord record;
    for (auto reader = sent.read(); reader.next(record); ++index_)
      if (record.bytes.size() > record_max_) return too_long();
    batch_.append(sent);
    return {};
  }

 private:
  Result<std::size_t> value_length(std::string_view text) {
    json::error_code error;
    parser_.reset();
    const std::size_t length = parser_.write_some(false, text.data(), text.size(), error);
    if (error) return bad("is not JSON: " + error.message(), index_);
    return length;
  }
  Result<void> add(std::string_view bytes) {
    if (bytes.size() > record_max_) return too_long();
    batch_.append({micros_, peer_, bytes});
    ++index_;
    return {};
  }
  Error too_long() const {
    return Error(Errc::kTooLarge, "record " + std::to_string(index_) + " is longer than message_size_max (" +
                                      format_bytes(record_max_) + ")");
  }
  static Error bad(const std::string& why, std::size_t index) {
    return Error(Errc::kInvalidArgument, "record " + std::to_string(index) + " " + why);
  }

  std::size_t record_max_;
  std::int64_t micros_;
  std::string_view peer_;
  RecordBatch& batch_;
  json::basic_parser<Ignore> parser_;
  std::size_t index_{0};
};
}  // namespace

std::optional<BodyFormat> body_format(std::string_view content_type) {
  std::string type(trimmed(content_type.substr(0, content_type.find(';'))));
  std::ranges::transform(type, type.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (type.empty() || type == "application/json") return BodyFormat::kJson;
  if (type == "application/x-ndjson" || type == "application/ndjson" || type == "application/jsonl")
    return BodyFormat::kNdjson;
  if (type == "text/plain") return BodyFormat::kText;
  if (type == kRecordsType) return BodyFormat::kRecords;
  return std::nullopt;
}

Result<void> split_body(BodyFormat format, std::string_view body, std::size_t record_max, std::int64_t received_micros,
                        std::string_view peer, RecordBatch& batch) {
  Splitter splitter(record_max, received_micros, peer, batch);
  switch (format) {
    case BodyFormat::kJson: {
      std::string_view rest = body;
      skip_space(rest);
      return rest.starts_with('[') ? splitter.array(rest) : splitter.lines(body, true);
    }
    case BodyFormat::kNdjson:
      return splitter.lines(body, true);
    case BodyFormat::kText:
      return splitter.lines(body, false);
    case BodyFormat::kRecords:
      return splitter.records(body);
  }
  return {};
}

}  // namespace outlast::ingest
