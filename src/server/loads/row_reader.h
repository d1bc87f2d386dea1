#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loads/packed_rows.h"
#include "sql/session/copy_format.h"
#include "sql/types.h"

namespace outlast::server {

/// How the bytes of a stream load are read.
struct LoadFormat {
  enum class Kind : std::uint8_t { kCsv, kJson };
  Kind kind{Kind::kCsv};
  char separator{','};
  bool skip_header{false};
};
/// A column that the rows fill.
struct LoadColumn {
  std::string name;
  sql::PgType type;
};

/// Bytes in any portions → rows of values as they are stored. CSV: quotes as in RFC 4180, \N is NULL, and so is an
/// empty field of a column that is no text. JSON: objects, one after another or in one array, however broken into
/// lines; a missing name is NULL. Pure. Thread-safety: none.
class LoadRowReader {
 public:
  LoadRowReader(LoadFormat format, std::vector<LoadColumn> columns, std::size_t row_bytes_max);
  void feed(std::string_view bytes);
  void finish();
  enum class Read : std::uint8_t {
    kRow,      ///< It is in the batch.
    kNoRow,    ///< It does not fit the columns, reason() says why.
    kNothing,  ///< More bytes are needed, or (after finish()) there are no more rows.
  };
  /// The next row, into a batch of as many columns. An error: what follows cannot be read.
  Result<Read> next(loads::PackedRows& into);
  const std::string& reason() const { return reason_; }

 private:
  Result<Read> next_csv(loads::PackedRows& into);
  Result<Read> next_json(loads::PackedRows& into);
  Result<std::optional<std::string_view>> next_object();
  bool take_fields(sql::CopyParser::Fields fields, executor::RowWriter& out);
  bool take_object(std::string_view text, executor::RowWriter& out);
  bool take_value(std::string_view text, const LoadColumn& column, executor::RowWriter& out);
  Read end_row(bool fits, std::string_view what, std::size_t number, loads::PackedRows& into);

  const LoadFormat format_;
  const std::vector<LoadColumn> columns_;
  const std::size_t row_bytes_max_;
  sql::CopyParser csv_;
  std::string bytes_;
  std::size_t begin_{0}, scanned_{0};
  int depth_{0};
  bool in_string_{false}, escaped_{false}, finished_{false};
  std::uint64_t rows_{0};
  std::string reason_;
};

}  // namespace outlast::server
