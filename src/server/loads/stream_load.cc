#include "server/loads/stream_load.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdlib>

#include "base/parse.h"
#include "sql/types.h"

namespace outlast::server {
namespace asio = boost::asio;
namespace json = boost::json;
using http::Request;

namespace {
constexpr std::size_t kRowMax = 64U << 20;
constexpr std::size_t kBatchRows = 4000;

Error bad(const std::string& header, const std::string& may) {
  return {Errc::kInvalidArgument, "header " + header + ": write " + may};
}

/// "," "\t" "\x01" or the character itself.
Result<char> separator_of(const std::string& text) {
  if (text.size() == 1) return text[0];
  if (text == "\\t") return '\t';
  if (text.size() == 4 && text.starts_with("\\x")) {
    char* end = nullptr;
    const long code = std::strtol(text.c_str() + 2, &end, 16);
    if (*end == '\0' && code > 0 && code < 128) return static_cast<char>(code);
  }
  return bad("column_separator", "one character, \\t, or a code such as \\x01");
}

Result<std::vector<std::string>> columns_of(std::string_view list) {
  std::vector<std::string> names;
  while (!list.empty()) {
    std::string_view name = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), name.size() + 1));
    while (!name.empty() && (name.front() == ' ' || name.front() == '`' || name.front() == '"')) name.remove_prefix(1);
    while (!name.empty() && (name.back() == ' ' || name.back() == '`' || name.back() == '"')) name.remove_suffix(1);
    if (name.empty() || name.find('=') != name.npos)
      return bad("columns", "names separated by commas; expressions are not supported, calculate the values before");
    names.emplace_back(name);
  }
  return names;
}

Result<bool> flag(const Request& request, const std::string& name) {
  const std::string& text = request.header(name);
  if (text.empty() || text == "false" || text == "0") return false;
  if (text == "true" || text == "1") return true;
  return bad(name, "true or false");
}

Result<LoadFormat> format_of(const Request& request) {
  LoadFormat format;
  const std::string& kind = request.header("format");
  if (kind == "json" || kind == "ndjson" || kind == "JSON")
    format.kind = LoadFormat::Kind::kJson;
  else if (!kind.empty() && kind != "csv" && kind != "CSV")
    return bad("format", "csv or json");
  if (const std::string& text = request.header("column_separator"); !text.empty()) {
    ASSIGN_OR_RETURN(format.separator, separator_of(text));
  }
  if (const std::string& text = request.header("row_delimiter"); !text.empty() && text != "\n" && text != "\\n")
    return bad("row_delimiter", "\\n, or leave it out");
  ASSIGN_OR_RETURN(format.skip_header, flag(request, "skip_header"));
  return format;
}
}  // namespace

Result<StreamLoadRequest> read_stream_load(const Request& request, std::string database, std::string table) {
  StreamLoadRequest out;
  out.options.database = std::move(database);
  out.options.table = std::move(table);
  out.options.label = request.header("label");
  if (out.options.label.size() > 128) return bad("label", "at most 128 characters");
  ASSIGN_OR_RETURN(out.options.columns, columns_of(request.header("columns")));
  ASSIGN_OR_RETURN(out.format, format_of(request));
  if (const std::string& text = request.header("max_filter_ratio"); !text.empty()) {
    char* end = nullptr;
    out.options.max_filter_ratio = std::strtod(text.c_str(), &end);
    if (*end != '\0' || !(out.options.max_filter_ratio >= 0 && out.options.max_filter_ratio <= 1))
      return bad("max_filter_ratio", "a number from 0 to 1");
  }
  if (const std::string& text = request.header("timeout"); !text.empty()) {
    const Result<std::int64_t> seconds = parse_int(text);
    if (!seconds.ok() || *seconds < 1 || *seconds > 259200) return bad("timeout", "seconds, 1 to 259200");
    out.options.timeout = std::chrono::seconds(*seconds);
  }
  return out;
}

namespace {
std::vector<LoadColumn> typed_columns(const loads::Load& load) {
  std::vector<LoadColumn> out;
  for (const std::string& name : load.columns()) {
    const fragments::Column* const column = load.table().column(name);
    const auto type =
        column == nullptr || column->declared.empty() ? std::nullopt : sql::type_of_declaration(column->declared);
    out.push_back({name, type.value_or(sql::PgType{})});
  }
  return out;
}

/// All rows that the bytes so far give.
asio::awaitable<Result<void>> take_rows(LoadRowReader* reader, loads::Load* load, bool filters) {
  using Read = LoadRowReader::Read;
  loads::PackedRows batch(load->columns().size());
  for (;;) {
    const auto read = reader->next(batch);
    if (!read.ok()) co_return std::move(read).error();
    if (*read == Read::kNoRow) {
      if (!filters) co_return Error(Errc::kInvalidText, reader->reason());
      load->count_unread(reader->reason());
    }
    if (*read != Read::kNothing && batch.rows() < kBatchRows) continue;
    if (!batch.empty())
      if (auto added = co_await load->add(std::exchange(batch, loads::PackedRows(batch.columns()))); !added.ok())
        co_return added;
    if (*read == Read::kNothing) co_return Result<void>();
  }
}
}  // namespace

asio::awaitable<Result<void>> feed_load(StreamLoadRequest request, loads::Load* load, http::BodyStream* body) {
  LoadRowReader reader(request.format, typed_columns(*load), kRowMax);
  const bool filters = request.options.max_filter_ratio > 0;
  const auto until = std::chrono::steady_clock::now() + request.options.timeout;
  std::size_t waiting = 0;
  for (bool more = true; more;) {
    auto piece = co_await body->next();
    if (!piece.ok()) co_return std::move(piece).error();
    if (std::chrono::steady_clock::now() > until)
      co_return Error(Errc::kDeadline, "the time of the load is over; give it more with the header timeout");
    more = !piece->empty();
    load->count_bytes(piece->size());
    reader.feed(*piece);
    waiting += piece->size();
    if (!more) reader.finish();
    if (more && waiting < request.options.batch_bytes) continue;
    waiting = 0;
    if (auto taken = co_await take_rows(&reader, load, filters); !taken.ok()) co_return taken;
  }
  co_return co_await load->settle();
}

std::string to_json(const StreamLoadAnswer& answer) {
  const loads::Counts& counts = answer.label.counts;
  json::object out{{"TxnId", answer.label.txn}, {"Label", answer.label.label}, {"Status", answer.status}};
  if (!answer.existing.empty()) out["ExistingJobStatus"] = answer.existing;
  out["Message"] = answer.message;
  out["NumberTotalRows"] = counts.total;
  out["NumberLoadedRows"] = counts.loaded;
  out["NumberFilteredRows"] = counts.filtered;
  out["NumberUnselectedRows"] = 0;
  out["LoadBytes"] = counts.bytes;
  out["LoadTimeMs"] = answer.millis;
  return json::serialize(out) + "\n";
}

StreamLoadAnswer answer_of_existing(const loads::Label& existing) {
  StreamLoadAnswer out;
  const bool in = existing.state == loads::State::kDone || existing.state == loads::State::kCommitted;
  out.label = existing;
  out.status = "Label Already Exists";
  out.existing = in ? "FINISHED" : "RUNNING";
  out.message = "label \"" + existing.label + "\" exists: " +
                (in ? "its " + std::to_string(existing.counts.loaded) + " rows were loaded and are not loaded again"
                    : "a load under it has not ended; ask for it with _load_info, or try again later");
  return out;
}

}  // namespace outlast::server
