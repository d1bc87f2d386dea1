#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/option_value.h"

namespace outlast::cli {

/// One line of a configuration file that was understood.
struct ConfigEntry {
  const Option* option{nullptr};
  OptionValue value;
};

/// TOML whose keys are the names of options without the dashes in front ("sql-addr", "sql_addr"), each at most once.
/// Errors: kInvalidArgument names `file`, the line, and what is allowed there. The entries point into `options`. Pure.
Result<std::vector<ConfigEntry>> parse_config(std::string_view text, const std::string& file,
                                              const std::vector<Option>& options);
/// The same for a file on this machine.
Result<std::vector<ConfigEntry>> read_config(const std::string& file, const std::vector<Option>& options);

}  // namespace outlast::cli
