#pragma once
#include <span>
#include <string_view>

namespace outlast::sql {

/// How a session variable checks its values.
enum class SettingKind : unsigned char {
  kText,      ///< Anything.
  kReadOnly,  ///< Only this server sets it.
  kBool,
  kOnlyOn,  ///< A boolean that cannot be switched off here.
  kInteger,
  kTime,       ///< Milliseconds or a number with a unit.
  kEncoding,   ///< UTF8 and its spellings.
  kDateStyle,  ///< ISO output only.
  kIsolation,
  kOneOf,  ///< The words in `allowed`.
};

struct SettingRow {
  std::string_view name;
  SettingKind kind;
  std::string_view boot;
  bool reported;  ///< Sent as ParameterStatus.
  std::string_view help;
  std::string_view allowed;  ///< kOneOf: "a|b|c".
  long min{0}, max{0};       ///< kInteger.
};

std::span<const SettingRow> setting_table();

}  // namespace outlast::sql
