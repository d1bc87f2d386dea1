#include "ingest/parse/parsed.h"

#include <algorithm>
#include <boost/json/parse.hpp>

namespace outlast::ingest {
namespace {
constexpr char kErrorMark = '!';
}  // namespace

void append_parsed(RecordBatch& batch, const Record& record) {
  std::string bytes;
  if (record.error.empty()) {
    append_json_value(bytes, record.fields);
  } else {
    bytes = kErrorMark + record.error;
    std::ranges::replace(bytes, '\n', ' ');
    bytes.append("\n").append(record.raw);
  }
  batch.append({record.time_micros, record.host, bytes});
}

Record read_parsed(const std::string& tag, const RawRecord& raw) {
  Record record{.time_micros = raw.received_micros, .host = std::string(raw.peer), .tag = tag};
  if (raw.bytes.starts_with(kErrorMark)) {
    const auto end = std::min(raw.bytes.find('\n'), raw.bytes.size());
    record.error = raw.bytes.substr(1, end - 1);
    record.raw = raw.bytes.substr(std::min(end + 1, raw.bytes.size()));
    if (!record.error.empty()) return record;
  }
  boost::system::error_code error;
  boost::json::value fields = boost::json::parse({raw.bytes.data(), raw.bytes.size()}, error);
  if (!error && fields.is_object()) {
    record.fields = std::move(fields.as_object());
    return record;
  }
  record.raw = std::string(raw.bytes);
  record.error = "this is no record that another node has parsed";
  return record;
}

}  // namespace outlast::ingest
