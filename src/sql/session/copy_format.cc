#include "sql/session/copy_format.h"

#include <algorithm>

#include "sql/pgwire/messages.h"

namespace outlast::sql {
namespace {
int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}
bool is_octal(char c) {
  return c >= '0' && c <= '7';
}

// Takes one escape; `i` stands on the character after the backslash and is left on the last one used.
char unescape(std::string_view text, std::size_t& i) {
  switch (text[i]) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      break;
  }
  if (text[i] == 'x' && i + 1 < text.size() && hex_digit(text[i + 1]) >= 0) {
    int value = hex_digit(text[++i]);
    if (i + 1 < text.size() && hex_digit(text[i + 1]) >= 0) value = value * 16 + hex_digit(text[++i]);
    return static_cast<char>(value);
  }
  if (is_octal(text[i])) {
    int value = text[i] - '0';
    for (int k = 0; k < 2 && i + 1 < text.size() && is_octal(text[i + 1]); ++k) value = value * 8 + (text[++i] - '0');
    return static_cast<char>(value);
  }
  return text[i];
}

void append_text_field(const CopyFormat& format, std::string_view field, std::string& out) {
  for (const char c : field) {
    switch (c) {
      case '\b':
        out += "\\b";
        continue;
      case '\f':
        out += "\\f";
        continue;
      case '\n':
        out += "\\n";
        continue;
      case '\r':
        out += "\\r";
        continue;
      case '\t':
        out += "\\t";
        continue;
      case '\v':
        out += "\\v";
        continue;
      default:
        break;
    }
    if (c == '\\' || c == format.delimiter) out += '\\';
    out += c;
  }
}

void append_csv_field(const CopyFormat& format, std::string_view field, bool only_column, std::string& out) {
  const char special[] = {format.delimiter, '"', '\n', '\r', '\0'};
  const bool quote = field == format.null_text || field.find_first_of(special) != std::string_view::npos ||
                     (only_column && field == "\\.");
  if (!quote) {
    out += field;
    return;
  }
  out += '"';
  for (const char c : field) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}
}  // namespace

void append_copy_row(const CopyFormat& format, const CopyRow& row, std::string& out) {
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (i > 0) out += format.delimiter;
    if (!row[i])
      out += format.null_text;
    else if (format.csv)
      append_csv_field(format, *row[i], row.size() == 1, out);
    else
      append_text_field(format, *row[i], out);
  }
  out += '\n';
}

Error CopyParser::bad(std::string_view what) const {
  return Error(Errc::kBadCopyFormat, std::string(what) + " (COPY, line " + std::to_string(line_) + ")");
}

void CopyParser::feed(std::string_view bytes) {
  if (ended_) return;
  if (begin_ > 0) {
    bytes_.erase(0, begin_);
    scanned_ -= begin_;
    begin_ = 0;
  }
  bytes_ += bytes;
}

// A line end behind an odd number of backslashes is data.
std::size_t CopyParser::line_end() const {
  std::size_t end = bytes_.find('\n', scanned_);
  while (end != std::string::npos) {
    std::size_t slashes = 0;
    while (end - slashes > begin_ && bytes_[end - slashes - 1] == '\\') ++slashes;
    if (slashes % 2 == 0) return end;
    end = bytes_.find('\n', end + 1);
  }
  return end;
}

Result<std::optional<std::string_view>> CopyParser::take_line() {
  std::size_t end = std::string::npos;
  if (format_.csv) {
    for (std::size_t line = bytes_.find('\n', scanned_); end == std::string::npos && scanned_ < bytes_.size();) {
      if (line < scanned_) line = bytes_.find('\n', scanned_);
      const std::size_t limit = in_quotes_ ? bytes_.size() : std::min(line, bytes_.size());
      const std::size_t quote = std::string_view(bytes_).substr(0, limit).find('"', scanned_);
      if (quote != std::string::npos) in_quotes_ = !in_quotes_;
      if (quote == std::string::npos && !in_quotes_) end = line;
      scanned_ = quote == std::string::npos ? limit : quote + 1;
    }
  } else {
    end = line_end();
    if (end == std::string::npos) scanned_ = bytes_.size();
  }
  const std::size_t size = std::min(end, bytes_.size()) - begin_;
  if (size > max_)
    return Error(Errc::kTooLarge, "COPY line " + std::to_string(line_ + 1) + " is longer than " + std::to_string(max_) +
                                      " bytes: split it, or raise the message size limit");
  if (end == std::string::npos && (!finished_ || begin_ == bytes_.size())) return std::optional<std::string_view>();
  ++line_;
  if (end == std::string::npos && in_quotes_) return bad("unterminated CSV quoted field");
  std::string_view line = std::string_view(bytes_).substr(begin_, size);
  begin_ = scanned_ = std::min(begin_ + size + 1, bytes_.size());
  if (line.ends_with('\r')) line.remove_suffix(1);
  return std::optional(line);
}

Result<std::optional<CopyRow>> CopyParser::next() {
  ASSIGN_OR_RETURN(const std::optional<Fields> fields, next_fields());
  if (!fields) return std::optional<CopyRow>();
  return std::optional(CopyRow(fields->begin(), fields->end()));
}

Result<std::optional<CopyParser::Fields>> CopyParser::next_fields() {
  while (!ended_) {
    ASSIGN_OR_RETURN(const std::optional<std::string_view> line, take_line());
    if (!line) return std::optional<Fields>();
    if (*line == "\\.") {
      ended_ = true;
      break;
    }
    if (format_.header && !std::exchange(header_taken_, true)) continue;
    fields_.clear();
    unescaped_.clear();
    unescaped_.reserve(line->size());  // never more: what points into it stays
    if (format_.csv)
      TRY(split_csv(*line));
    else
      split_text(*line);
    for (const auto& field : fields_)
      if (field && !pgwire::is_valid_text(*field))
        return Error(Errc::kInvalidText,
                     "invalid byte sequence for encoding \"UTF8\" (COPY, line " + std::to_string(line_) + ")");
    return std::optional<Fields>(fields_);
  }
  return std::optional<Fields>();
}

void CopyParser::add_field(std::string_view field, bool is_null) {
  fields_.push_back(is_null ? std::nullopt : std::optional(field));
}

void CopyParser::split_text(std::string_view line) {
  std::size_t start = 0, begin = 0;
  for (std::size_t i = 0;; ++i) {
    if (i == line.size() || line[i] == format_.delimiter) {
      // NULL is recognised before escapes are taken away, as in PostgreSQL.
      add_field(std::string_view(unescaped_).substr(begin), line.substr(start, i - start) == format_.null_text);
      begin = unescaped_.size();
      if (i == line.size()) return;
      start = i + 1;
    } else if (line[i] == '\\' && i + 1 < line.size()) {
      ++i;
      unescaped_ += unescape(line, i);
    } else {
      unescaped_ += line[i];
    }
  }
}

void CopyParser::split_unquoted(std::string_view line) {
  for (;;) {
    const std::size_t end = std::min(line.find(format_.delimiter), line.size());
    const std::string_view field = line.substr(0, end);
    add_field(field, field == format_.null_text);
    if (end == line.size()) return;
    line.remove_prefix(end + 1);
  }
}

Result<void> CopyParser::split_csv(std::string_view line) {
  if (line.find('"') == std::string_view::npos) {
    split_unquoted(line);
    return {};
  }
  std::size_t begin = 0;
  bool quoted = false, inside = false;
  for (std::size_t i = 0;; ++i) {
    if (i == line.size() && inside) return bad("unterminated CSV quoted field");
    if (i == line.size() || (!inside && line[i] == format_.delimiter)) {
      const std::string_view field = std::string_view(unescaped_).substr(begin);
      add_field(field, !quoted && field == format_.null_text);
      begin = unescaped_.size();
      quoted = false;
      if (i == line.size()) return {};
    } else if (line[i] == '"') {
      if (inside && i + 1 < line.size() && line[i + 1] == '"') {
        unescaped_ += '"';
        ++i;
      } else {
        inside = !inside;
        quoted = true;
      }
    } else {
      std::size_t end = i + 1;
      while (end < line.size() && line[end] != '"' && (inside || line[end] != format_.delimiter)) ++end;
      unescaped_.append(line, i, end - i);
      i = end - 1;
    }
  }
}

}  // namespace outlast::sql
