#pragma once
#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "cli/command.h"

namespace outlast::cli {

/// What an option's target can hold.
using OptionValue = std::variant<std::string, bool, std::int64_t, double, Duration, Bytes, std::vector<std::string>>;

/// A word of the command line or of a configuration file as the option's kind of value, within the option's choices and
/// limits; a list is split at its commas. Errors: kInvalidArgument says what is allowed. Pure.
Result<OptionValue> read_option(const Option& option, const std::string& word);
/// Precondition: `value` came from read_option of this option.
void assign(const Option& option, OptionValue value);
/// What the target holds now, for the help: "8s", "500"; empty for a list and a flag.
std::string shown_default(const Option& option);

}  // namespace outlast::cli
