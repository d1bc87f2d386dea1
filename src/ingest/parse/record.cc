#include "ingest/parse/record.h"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include "ingest/parse/timestamp.h"

namespace outlast::ingest {
namespace {
namespace json = boost::json;

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string base64(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const auto byte = [&](std::size_t i) -> unsigned {
      return at + i < bytes.size() ? static_cast<unsigned char>(bytes[at + i]) : 0U;
    };
    const unsigned three = byte(0) << 16 | byte(1) << 8 | byte(2);
    text += kDigits[three >> 18];
    text += kDigits[three >> 12 & 63];
    text += at + 1 < bytes.size() ? kDigits[three >> 6 & 63] : '=';
    text += at + 2 < bytes.size() ? kDigits[three & 63] : '=';
  }
  return text;
}

void append_pair(std::string& to, std::string_view key, std::string_view text) {
  to += to.empty() ? '{' : ',';
  append_json_text(to, key);
  to += ':';
  append_json_text(to, text);
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (text.empty()) return 0;
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xc2 && first < 0xe0 ? 2 : first >= 0xe0 && first < 0xf0 ? 3 : 4;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  // The second byte is where overlong forms, surrogates and what is beyond U+10FFFF show.
  const unsigned low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  return length;
}

std::string as_text(std::string bytes) {
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t length = bytes[at] == '\0' ? 0 : utf8_length(std::string_view(bytes).substr(at));
    if (length == 0) bytes.replace(at, 1, kReplacement);
    at += length == 0 ? kReplacement.size() : length;
  }
  return bytes;
}

void append_json_text(std::string& to, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  to += '"';
  while (!text.empty()) {
    std::size_t plain = 0;
    while (plain < text.size()) {
      const auto byte = static_cast<unsigned char>(text[plain]);
      if (byte < 0x20 || byte >= 0x7f || byte == '"' || byte == '\\') break;
      ++plain;
    }
    to.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    const auto byte = static_cast<unsigned char>(text.front());
    std::size_t length = 1;
    if (byte == '"' || byte == '\\') {
      to.append({'\\', text.front()});
    } else if (byte < 0x80) {
      if (byte == '\n')
        to += "\\n";
      else if (byte == '\t')
        to += "\\t";
      else
        to.append({'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]});
    } else if (length = utf8_length(text); length > 0) {
      to.append(text.substr(0, length));
    } else {
      length = 1;
      to += kReplacement;
    }
    text.remove_prefix(length);
  }
  to += '"';
}

void append_raw(std::string& to, const Record& record) {
  const bool text = is_utf8(record.raw);
  to += text ? "\"raw\":" : "\"raw_base64\":";
  append_json_text(to, text ? record.raw : base64(record.raw));
}

void append_json(std::string& to, const json::object& fields) {
  char separator = '{';
  if (fields.empty()) to += separator;
  for (const auto& [key, each] : fields) {
    to += separator;
    append_json_text(to, key);
    to += ':';
    append_json_value(to, each);
    separator = ',';
  }
  to += '}';
}

void append_json_value(std::string& to, const json::value& value) {
  if (const auto* text = value.if_string()) return append_json_text(to, *text);
  if (const auto* object = value.if_object()) return append_json(to, *object);
  if (const auto* array = value.if_array()) {
    char separator = '[';
    if (array->empty()) to += separator;
    for (const auto& each : *array) {
      to += separator;
      append_json_value(to, each);
      separator = ',';
    }
    to += ']';
    return;
  }
  to += json::serialize(value);
}

std::string to_json_line(const Record& record) {
  std::string line;
  line.reserve(160 + record.raw.size());
  if (!record.fields.contains("time")) append_pair(line, "time", format_rfc3339(record.time_micros));
  if (!record.host.empty() && !record.fields.contains("host")) append_pair(line, "host", record.host);
  if (!record.fields.contains("tag")) append_pair(line, "tag", record.tag);
  for (const auto& [key, value] : record.fields) {
    line += line.empty() ? '{' : ',';
    append_json_text(line, key);
    line += ':';
    append_json_value(line, value);
  }
  if (!record.error.empty()) {
    line += line.empty() ? '{' : ',';
    append_raw(line, record);
    append_pair(line, "error", record.error);
  }
  line += '}';
  return line;
}

}  // namespace outlast::ingest
