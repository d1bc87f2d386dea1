#include <boost/json/parse.hpp>
#include <cmath>

#include "ingest/parse/parser.h"

namespace outlast::ingest {
namespace {
namespace json = boost::json;

std::optional<std::int64_t> time_of(const json::value& value) {
  if (const auto* text = value.if_string()) return time_of_text(*text);
  if (!value.is_number()) return std::nullopt;
  const double seconds = value.to_number<double>();
  return std::abs(seconds) < 9e12 ? std::optional(std::llround(seconds * 1e6)) : std::nullopt;
}

class JsonParser final : public Parser {
 public:
  explicit JsonParser(const ParserOptions& options) : time_key_(options.time_key) {}
  Result<void> parse(std::string_view bytes, Record& record) const override {
    boost::system::error_code error;
    json::value value = json::parse({bytes.data(), bytes.size()}, error);
    if (error) return Error(Errc::kInvalidText, "this is not JSON: " + error.message());
    if (!value.is_object()) return Error(Errc::kInvalidText, "this is JSON, but no object");
    record.fields = std::move(value.as_object());
    if (const auto* time = record.fields.if_contains(time_key_))
      if (const auto micros = time_of(*time)) record.time_micros = *micros;
    return {};
  }

 private:
  std::string time_key_;
};

}  // namespace

std::unique_ptr<Parser> make_json_parser(const ParserOptions& options) {
  return std::make_unique<JsonParser>(options);
}

}  // namespace outlast::ingest
