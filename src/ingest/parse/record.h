#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace outlast::ingest {

/// One record as sinks see it.
struct Record {
  std::int64_t time_micros{0};  ///< What the record says, or when it came. Wall clock, since 1970 UTC.
  std::string host;             ///< What the record says, or the address that it came from. May be empty.
  std::string tag;
  boost::json::object fields;  ///< Empty when there is an error.
  std::string raw;             ///< The whole record as it came, only when there is an error.
  std::string error;           ///< Why the parser could not read it; empty: it could.
};

/// "{...}" without a newline: time (RFC 3339, UTC), host, tag and then the fields, or raw and error. Fields called like
/// the first three stand in front of ours. What is not UTF-8 has U+FFFD in place of each wrong byte; such a `raw` comes
/// as raw_base64 instead, so that nothing of it is lost.
std::string to_json_line(const Record& record);

/// Appends "raw":"…" of a record with an error; raw_base64 when it is not UTF-8.
void append_raw(std::string& to, const Record& record);
/// Appends `text` as a JSON string, whatever bytes it has.
void append_json_text(std::string& to, std::string_view text);
/// Appends `fields` as a JSON object; what is not UTF-8 has U+FFFD in place of each wrong byte.
void append_json(std::string& to, const boost::json::object& fields);
/// A text with U+FFFD in place of each NUL and each byte that is none of UTF-8's: what a text column takes.
std::string as_text(std::string bytes);
/// Appends any value, as compact as it can be written.
void append_json_value(std::string& to, const boost::json::value& value);
/// The length of the character that `text` begins with; 0: these bytes are no UTF-8.
std::size_t utf8_length(std::string_view text);

}  // namespace outlast::ingest
