#include "server/loads/row_reader.h"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstring>

namespace outlast::server {
namespace json = boost::json;
using Read = LoadRowReader::Read;

namespace {
bool is_text(sql::Oid type) {
  return type == sql::oid::kText || type == sql::oid::kVarchar || type == sql::oid::kBpchar;
}

sql::CopyFormat copy_format(const LoadFormat& format) {
  return {.csv = true, .header = format.skip_header, .delimiter = format.separator, .null_text = "\\N"};
}

/// A JSON value in the text form of PostgreSQL; nullopt: NULL.
std::optional<std::string> text_of(const json::value& value, sql::Oid type) {
  if (value.is_null()) return std::nullopt;
  const bool as_json = type == sql::oid::kJson || type == sql::oid::kJsonb;
  if (value.is_string() && !as_json) return std::string(value.get_string());
  return json::serialize(value);
}
}  // namespace

LoadRowReader::LoadRowReader(LoadFormat format, std::vector<LoadColumn> columns, std::size_t row_bytes_max)
    : format_(format),
      columns_(std::move(columns)),
      row_bytes_max_(row_bytes_max),
      csv_(copy_format(format), row_bytes_max) {}

void LoadRowReader::feed(std::string_view bytes) {
  if (format_.kind == LoadFormat::Kind::kCsv) return csv_.feed(bytes);
  if (begin_ > 0) {
    bytes_.erase(0, begin_);
    scanned_ -= begin_;
    begin_ = 0;
  }
  bytes_ += bytes;
}

void LoadRowReader::finish() {
  finished_ = true;
  csv_.finish();
}

Result<Read> LoadRowReader::next(loads::PackedRows& into) {
  return format_.kind == LoadFormat::Kind::kCsv ? next_csv(into) : next_json(into);
}

Read LoadRowReader::end_row(bool fits, std::string_view what, std::size_t number, loads::PackedRows& into) {
  if (fits) {
    into.end_row();
    return Read::kRow;
  }
  into.drop_row();
  reason_ += " (" + std::string(what) + " " + std::to_string(number) + ")";
  return Read::kNoRow;
}

Result<Read> LoadRowReader::next_csv(loads::PackedRows& into) {
  ASSIGN_OR_RETURN(const auto fields, csv_.next_fields());
  if (!fields) return Read::kNothing;
  return end_row(take_fields(*fields, into.writer()), "line", csv_.line(), into);
}

bool LoadRowReader::take_fields(sql::CopyParser::Fields fields, executor::RowWriter& out) {
  if (fields.size() != columns_.size()) {
    reason_ = "a row has " + std::to_string(fields.size()) + " fields and not " + std::to_string(columns_.size());
    return false;
  }
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const bool text = is_text(columns_[i].type.oid);
    if (!fields[i] || (fields[i]->empty() && !text))
      out.null();
    else if (text)  // the parser has seen that it is valid
      out.text(*fields[i]);
    else if (!take_value(*fields[i], columns_[i], out))
      return false;
  }
  return true;
}

bool LoadRowReader::take_value(std::string_view text, const LoadColumn& column, executor::RowWriter& out) {
  const auto value = sql::decode_text(text, column.type.oid);
  if (value.ok())
    out.value(*value);
  else
    reason_ = value.error().message + " in column \"" + column.name + "\"";
  return value.ok();
}

/// The text of the next object at the outermost level, or in the outermost array.
Result<std::optional<std::string_view>> LoadRowReader::next_object() {
  for (; scanned_ < bytes_.size(); ++scanned_) {
    const char c = bytes_[scanned_];
    if (depth_ == 0) {
      begin_ = scanned_;
      if (c == '{')
        depth_ = 1;
      else if (std::strchr(" \t\r\n,[]", c) == nullptr || c == '\0')
        return Error(Errc::kInvalidText, "the data is not JSON objects: after row " + std::to_string(rows_) +
                                             " comes '" + std::string(1, c) + "'");
      continue;
    }
    if (in_string_) {
      in_string_ = escaped_ || c != '"';
      escaped_ = !escaped_ && c == '\\';
      continue;
    }
    in_string_ = c == '"';
    if (c == '{' || c == '[') ++depth_;
    if ((c == '}' || c == ']') && --depth_ == 0) {
      const std::size_t from = std::exchange(begin_, scanned_ + 1);
      ++scanned_;
      return std::optional(std::string_view(bytes_).substr(from, scanned_ - from));
    }
  }
  if (depth_ == 0) begin_ = scanned_;
  if (bytes_.size() - begin_ > row_bytes_max_) return Error(Errc::kTooLarge, "a JSON object is too large for a row");
  if (finished_ && depth_ > 0) return Error(Errc::kInvalidText, "the data ends in the middle of a JSON object");
  return std::optional<std::string_view>();
}

Result<Read> LoadRowReader::next_json(loads::PackedRows& into) {
  ASSIGN_OR_RETURN(const auto text, next_object());
  if (!text) return Read::kNothing;
  ++rows_;
  return end_row(take_object(*text, into.writer()), "row", rows_, into);
}

bool LoadRowReader::take_object(std::string_view text, executor::RowWriter& out) {
  boost::system::error_code error;
  const json::value parsed = json::parse(text, error);
  if (error || !parsed.is_object()) {
    reason_ = "a row is not a JSON object";
    return false;
  }
  for (const LoadColumn& column : columns_) {
    const json::value* const found = parsed.get_object().if_contains(column.name);
    const auto field = found == nullptr ? std::nullopt : text_of(*found, column.type.oid);
    if (!field)
      out.null();
    else if (!take_value(*field, column, out))
      return false;
  }
  return true;
}

}  // namespace outlast::server
