// The record of a scheme as JSON.
#include <array>
#include <boost/json.hpp>

#include "fragments/scheme.h"

namespace outlast::fragments {
namespace {
namespace json = boost::json;

constexpr std::array<std::string_view, 6> kTypeNames = {"integer", "text", "padded_text", "bytes", "date", "timestamp"};

Error unreadable(std::string_view field) {
  return {Errc::kCorrupt, "partition scheme is unreadable: field '" + std::string(field) + "' is missing or wrong"};
}

const json::string* text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_string();
}

Result<Interval> interval_of(const json::object& object, std::string_view name) {
  const json::string* text = text_of(object, name);
  if (text == nullptr) return unreadable(name);
  Result<Interval> interval = parse_interval(*text);
  if (!interval.ok()) return unreadable(name);
  return interval;
}

}  // namespace

std::string encode(const Scheme& scheme) {
  json::object out;
  out["kind"] = scheme.kind == Scheme::Kind::kHash ? "hash" : "range";
  out["column"] = scheme.column;
  out["type"] = kTypeNames[static_cast<std::size_t>(scheme.type)];
  if (scheme.kind == Scheme::Kind::kHash) {
    out["partitions"] = scheme.partitions;
  } else {
    out["interval"] = to_string(scheme.interval);
    if (scheme.ttl) out["ttl"] = to_string(*scheme.ttl);
  }
  return json::serialize(out);
}

Result<Scheme> decode_scheme(std::string_view text) {
  boost::system::error_code problem;
  const json::value parsed = json::parse(text, problem);
  if (problem || !parsed.is_object()) return Error(Errc::kCorrupt, "partition scheme is unreadable: not a JSON object");
  const json::object& object = parsed.get_object();
  Scheme out;
  const json::string* kind = text_of(object, "kind");
  if (kind == nullptr || (*kind != "hash" && *kind != "range")) return unreadable("kind");
  out.kind = *kind == "hash" ? Scheme::Kind::kHash : Scheme::Kind::kRange;
  const json::string* column = text_of(object, "column");
  if (column == nullptr || column->empty()) return unreadable("column");
  out.column = *column;
  const json::string* type = text_of(object, "type");
  const auto* found = type == nullptr ? kTypeNames.end() : std::find(kTypeNames.begin(), kTypeNames.end(), *type);
  if (found == kTypeNames.end()) return unreadable("type");
  out.type = static_cast<KeyType>(found - kTypeNames.begin());
  if (out.kind == Scheme::Kind::kHash) {
    const json::value* partitions = object.if_contains("partitions");
    if (partitions == nullptr || !partitions->is_int64()) return unreadable("partitions");
    out.partitions = partitions->get_int64();
    if (out.partitions < 1 || out.partitions > Scheme::kPartitionsMax) return unreadable("partitions");
    return out;
  }
  if (out.type != KeyType::kDate && out.type != KeyType::kTimestamp) return unreadable("type");
  ASSIGN_OR_RETURN(out.interval, interval_of(object, "interval"));
  if (object.contains("ttl")) {
    ASSIGN_OR_RETURN(out.ttl, interval_of(object, "ttl"));
  }
  return out;
}

}  // namespace outlast::fragments
