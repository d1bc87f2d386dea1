#include "sql/session/startup_options.h"

#include <algorithm>

namespace outlast::sql {

Result<std::vector<std::pair<std::string, std::string>>> parse_options(std::string_view options) {
  std::vector<std::string> words(1);
  for (std::size_t i = 0; i < options.size(); ++i) {
    if (options[i] == '\\' && i + 1 < options.size())
      words.back() += options[++i];
    else if (options[i] != ' ')
      words.back() += options[i];
    else if (!words.back().empty())
      words.emplace_back();
  }
  if (words.back().empty()) words.pop_back();
  std::vector<std::pair<std::string, std::string>> settings;
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (word == "-c" && i + 1 < words.size())
      word = words[++i];
    else if (word.starts_with("-c"))
      word.erase(0, 2);
    else if (word.starts_with("--"))
      word.erase(0, 2);
    else
      return Error(Errc::kProtocolViolation, "invalid command-line argument for server process: " + word);
    const std::size_t equals = word.find('=');
    if (equals == std::string::npos)
      return Error(Errc::kProtocolViolation, "-c " + word + " requires a value: write -c name=value");
    std::string name = word.substr(0, equals);
    std::replace(name.begin(), name.end(), '-', '_');
    settings.emplace_back(std::move(name), word.substr(equals + 1));
  }
  return settings;
}

}  // namespace outlast::sql
