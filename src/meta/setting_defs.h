#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "liveness/params.h"

namespace outlast::meta {

/// A value of a cluster setting in memory: nanoseconds, bytes, a number, 0 or 1, or the index of an enum's word.
/// Floats use `real`.
struct SettingValue {
  std::int64_t whole{0};
  double real{0};
};

/// One cluster setting: what SET CLUSTER SETTING accepts and SHOW CLUSTER SETTINGS tells.
struct SettingDef {
  enum class Type : std::uint8_t { kDuration, kBytes, kInt, kBool, kEnum, kFloat };
  std::string_view name;
  Type type{Type::kInt};
  std::string_view default_text;
  double min{0}, max{0};                ///< Nanoseconds, bytes or the number itself; both ends allowed.
  std::vector<std::string_view> words;  ///< kEnum.
  std::string_view help;
  std::string_view alias{};  ///< A second name under which it is known elsewhere; stored under `name` alone.
};
std::string_view to_string(SettingDef::Type type);

/// All settings, in alphabetical order.
const std::vector<SettingDef>& setting_defs();
/// By its name or its alias; kUndefinedObject with the nearest name as a hint. The result lives as long as the program.
Result<const SettingDef*> find_setting(std::string_view name);
/// Reads `text` by the setting's type and limits; kInvalidArgument says what is allowed.
Result<SettingValue> parse_setting(const SettingDef& def, std::string_view text);
/// The one way a value is written: "1m30s", "64MiB", "true". parse_setting reads it back.
std::string format_setting(const SettingDef& def, const SettingValue& value);

}  // namespace outlast::meta
