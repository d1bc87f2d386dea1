#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"

namespace outlast::sql::pgwire {

/// One column of a RowDescription.
struct FieldDescription {
  std::string name;
  std::uint32_t table{0};  ///< pg_class oid, 0 = not a table's column.
  std::int16_t column{0};
  std::uint32_t type{25};
  std::int16_t type_length{-1};
  std::int32_t typmod{-1};
  std::int16_t format{0};
};

enum class Severity : std::uint8_t { kError, kFatal, kWarning, kNotice };

/// Encodes what a server says, one message after another, into one buffer. Text is cut at its first NUL, because the
/// protocol ends strings with one. Thread-safety: none.
class BackendWriter {
 public:
  void authentication_ok();
  void negotiate_protocol_version(std::uint32_t newest_version, std::span<const std::string> unknown_options);
  void parameter_status(std::string_view name, std::string_view value);
  void backend_key_data(std::int32_t pid, std::string_view key);
  void ready_for_query(char status);
  void row_description(std::span<const FieldDescription> fields);
  void parameter_description(std::span<const std::uint32_t> types);
  void no_data() { empty('n'); }
  void parse_complete() { empty('1'); }
  void bind_complete() { empty('2'); }
  void close_complete() { empty('3'); }
  void portal_suspended() { empty('s'); }
  void empty_query_response() { empty('I'); }
  void command_complete(std::string_view tag);
  /// Rows are written value by value: begin_row, then null() or value() for each column, then end_row.
  void begin_row(std::size_t columns);
  void null();
  void value(std::string_view bytes);
  void end_row();
  /// Drops the row begun: an error came up in one of its values.
  void abandon_row();
  void copy_in_response(std::size_t columns);   ///< Text, all columns.
  void copy_out_response(std::size_t columns);  ///< Text, all columns.
  void copy_data(std::string_view bytes);
  void copy_done() { empty('c'); }
  /// ERROR, FATAL, WARNING and NOTICE: fields S V C M, and D H P where they are set.
  void report(Severity severity, const Error& error, std::string_view sqlstate);
  /// One raw byte: the answer to SSLRequest and GSSENCRequest.
  void raw(std::string_view bytes) { bytes_ += bytes; }

  std::size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  std::string_view bytes() const { return bytes_; }
  /// Drops the first `n` bytes: they have been sent.
  void drop(std::size_t n) { n == bytes_.size() ? clear() : void(bytes_.erase(0, n)); }
  void clear() {
    bytes_.clear();
    if (bytes_.capacity() > kKeptBytes) bytes_.shrink_to_fit();
  }

 private:
  static constexpr std::size_t kKeptBytes = 128 * 1024;
  void begin(char type);
  void end();
  void empty(char type);
  void u8(std::uint8_t v) { bytes_.push_back(static_cast<char>(v)); }
  void u16(std::uint16_t v);
  void u32(std::uint32_t v);
  void cstring(std::string_view text);
  void copy_response(char type, std::size_t columns);
  std::string bytes_;
  std::size_t start_{0};  ///< Where the message begun stands in bytes_.
};

}  // namespace outlast::sql::pgwire
