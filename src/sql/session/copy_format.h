#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace outlast::sql {

/// One COPY field: nullopt is NULL.
using CopyField = std::optional<std::string>;
using CopyRow = std::vector<CopyField>;

struct CopyFormat {
  bool csv{false};
  bool header{false};
  char delimiter{'\t'};
  std::string null_text{"\\N"};
};

/// Splits the bytes of COPY … FROM STDIN into rows. Bytes come in any portions; a row is held back until its end is
/// seen. Pure. Thread-safety: none.
class CopyParser {
 public:
  /// `row_bytes_max`: kTooLarge for a longer row.
  explicit CopyParser(CopyFormat format, std::size_t row_bytes_max) : format_(std::move(format)), max_(row_bytes_max) {}
  void feed(std::string_view bytes);
  /// No more bytes come: a last line without a line end counts.
  void finish() { finished_ = true; }
  /// The next row, or nullopt when more bytes are needed (after finish(): when there are no more rows). Errors:
  /// kBadCopyFormat, kTooLarge, kInvalidText (not UTF-8); the message names the line.
  Result<std::optional<CopyRow>> next();
  /// The same without copies: the fields stay until the parser is called again.
  using Fields = std::span<const std::optional<std::string_view>>;
  Result<std::optional<Fields>> next_fields();
  std::size_t line() const { return line_; }  ///< 1-based number of the last row returned.
  bool ended() const { return ended_; }       ///< The end marker `\.` was seen: what follows is ignored.

 private:
  Result<std::optional<std::string_view>> take_line();
  std::size_t line_end() const;
  void split_text(std::string_view line);
  Result<void> split_csv(std::string_view line);
  void split_unquoted(std::string_view line);
  void add_field(std::string_view field, bool is_null);
  Error bad(std::string_view what) const;

  CopyFormat format_;
  std::size_t max_;
  std::string bytes_;
  std::size_t begin_{0};
  std::size_t scanned_{0};  ///< bytes_ before this hold no line end; quotes are counted up to here.
  bool in_quotes_{false};
  std::size_t line_{0};
  bool finished_{false}, ended_{false}, header_taken_{false};
  std::vector<std::optional<std::string_view>> fields_;  ///< Of the last row; into bytes_ or unescaped_.
  std::string unescaped_;
};

/// One line of COPY … TO STDOUT, line end included, appended to `out`.
void append_copy_row(const CopyFormat& format, const CopyRow& row, std::string& out);

}  // namespace outlast::sql
