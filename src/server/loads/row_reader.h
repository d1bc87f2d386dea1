#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "executor/value.h"
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
  using Row = std::vector<executor::Value>;
  /// A row, or why it is none.
  struct Read {
    std::optional<Row> row;
    std::string reason;
  };
  LoadRowReader(LoadFormat format, std::vector<LoadColumn> columns, std::size_t row_bytes_max);
  void feed(std::string_view bytes);
  void finish();
  /// nullopt: more bytes are needed, or (after finish()) there are no more rows. An error: what follows cannot be read.
  Result<std::optional<Read>> next();

 private:
  Result<std::optional<Read>> next_csv();
  Result<std::optional<Read>> next_json();
  Result<std::optional<std::string_view>> next_object();
  Read from_fields(sql::CopyRow fields) const;
  Read from_object(std::string_view text) const;

  const LoadFormat format_;
  const std::vector<LoadColumn> columns_;
  const std::size_t row_bytes_max_;
  sql::CopyParser csv_;
  std::string bytes_;
  std::size_t begin_{0}, scanned_{0};
  int depth_{0};
  bool in_string_{false}, escaped_{false}, finished_{false};
  std::uint64_t rows_{0};
};

}  // namespace outlast::server
