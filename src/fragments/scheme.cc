#include "fragments/scheme.h"

#include <array>
#include <utility>

#include "fragments/time_key.h"

namespace outlast::fragments {
namespace {

constexpr std::array<std::pair<std::string_view, KeyType>, 13> kTypes = {{{"int2", KeyType::kInteger},
                                                                          {"int4", KeyType::kInteger},
                                                                          {"int8", KeyType::kInteger},
                                                                          {"bool", KeyType::kInteger},
                                                                          {"text", KeyType::kText},
                                                                          {"varchar", KeyType::kText},
                                                                          {"name", KeyType::kText},
                                                                          {"uuid", KeyType::kText},
                                                                          {"bpchar", KeyType::kPaddedText},
                                                                          {"bytea", KeyType::kBytes},
                                                                          {"date", KeyType::kDate},
                                                                          {"timestamp", KeyType::kTimestamp},
                                                                          {"timestamptz", KeyType::kTimestamp}}};

std::string in_quotes(const std::string& name) {
  return "\"" + name + "\"";
}

}  // namespace

std::optional<KeyType> key_type(std::string_view pg_type) {
  for (const auto& [name, type] : kTypes)
    if (name == pg_type) return type;
  return std::nullopt;
}

Result<Slot> Scheme::slot_of(const Value& key) const {
  if (kind == Kind::kHash) return static_cast<Slot>(key_hash(type, key) % static_cast<std::uint64_t>(partitions));
  if (std::holds_alternative<executor::Null>(key))
    return Error(Errc::kNotNullViolation, "null value in column " + in_quotes(column) +
                                              ", by which the table is partitioned, violates not-null constraint");
  const Value stored = with_affinity(type, key);
  const auto* text = std::get_if<std::string>(&stored);
  const auto micros = text == nullptr ? std::nullopt : parse_stored_time(*text, type == KeyType::kDate);
  if (!micros)
    return Error(Errc::kInvalidDatetime,
                 "invalid input for column " + in_quotes(column) +
                     ", by which the table is partitioned: " + (text == nullptr ? "not a time" : "\"" + *text + "\"") +
                     (type == KeyType::kDate ? "; write 2024-01-31" : "; write 2024-01-31 15:30:00, in UTC"));
  return slot_at(interval, *micros);
}

std::string Scheme::first_key(Slot slot) const {
  return format_stored_time(slot_start(interval, slot), type == KeyType::kDate);
}

std::string Scheme::last_key(Slot slot) const {
  return format_stored_time(slot_start(interval, slot + 1) - 1, type == KeyType::kDate);
}

bool Scheme::is_expired(Slot slot, std::int64_t now_micros) const {
  if (kind != Kind::kRange || !ttl) return false;
  return slot_start(interval, slot + 1) <= before(now_micros, *ttl);
}

std::string Scheme::slot_name(Slot slot) const {
  return kind == Kind::kHash ? std::to_string(slot) : first_key(slot);
}

}  // namespace outlast::fragments
