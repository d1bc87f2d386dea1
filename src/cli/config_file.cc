// The one file that knows toml++.
#include "cli/config_file.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iomanip>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>

namespace outlast::cli {
namespace {

Error at_line(const std::string& file, const toml::source_region& where, const std::string& what) {
  return {Errc::kInvalidArgument, file + ":" + std::to_string(where.begin.line) + ": " + what};
}

/// The option that a key names: those of the command line, but for --config itself.
const Option* find_option(const std::vector<Option>& options, std::string key) {
  std::ranges::replace(key, '_', '-');
  for (const Option& option : options)
    if (option.name == "--" + key && option.in_file) return &option;
  return nullptr;
}

std::string all_keys(const std::vector<Option>& options) {
  std::string keys;
  for (const Option& option : options)
    if (option.name.starts_with("--") && option.in_file) keys += (keys.empty() ? "" : ", ") + option.name.substr(2);
  return keys;
}

/// How a value of the option's kind looks in TOML.
const char* wanted_form(const Option& option) {
  constexpr const char* kForms[] = {"a text, such as \"text\"",
                                    "true or false",
                                    "a whole number",
                                    "a number",
                                    "a time, such as \"8s\"",
                                    "a size, such as \"64MiB\" or a number of bytes",
                                    "a list of texts, such as [\"a\", \"b\"]"};
  static_assert(std::variant_size_v<Target> == std::size(kForms));
  return kForms[option.target.index()];
}

template <class T>
bool takes(const Option& option) {
  return std::holds_alternative<T*>(option.target);
}

/// The value as the command line would say it; nullopt: TOML's kind of value is not the option's.
std::optional<std::string> word_of(const Option& option, const toml::node& node) {
  if (const auto* text = node.as_string())
    if (takes<std::string>(option) || takes<Duration>(option) || takes<Bytes>(option)) return text->get();
  if (const auto* flag = node.as_boolean())
    if (takes<bool>(option)) return flag->get() ? "true" : "false";
  if (const auto* number = node.as_integer())
    if (takes<std::int64_t>(option) || takes<Bytes>(option) || takes<double>(option))
      return std::to_string(number->get());
  if (const auto* real = node.as_floating_point(); real != nullptr && takes<double>(option)) {
    std::ostringstream out;
    out << std::setprecision(17) << real->get();
    return out.str();
  }
  return std::nullopt;
}

std::optional<std::vector<std::string>> texts_of(const toml::node& node) {
  std::vector<std::string> texts;
  const auto* list = node.as_array();
  if (list == nullptr) return std::nullopt;
  for (const toml::node& each : *list) {
    if (!each.is_string()) return std::nullopt;
    texts.push_back(each.as_string()->get());
  }
  return texts;
}

Result<ConfigEntry> read_entry(const std::string& file, const toml::key& key, const toml::node& node,
                               const std::vector<Option>& options) {
  const std::string name(key.str());
  const Option* const option = find_option(options, name);
  if (option == nullptr)
    return at_line(file, key.source(), "there is no setting \"" + name + "\" here; there are " + all_keys(options));
  if (takes<std::vector<std::string>>(*option))
    if (auto texts = texts_of(node)) return ConfigEntry{option, std::move(*texts)};
  const auto word = word_of(*option, node);
  if (!word) return at_line(file, node.source(), name + " is " + wanted_form(*option));
  auto value = read_option(*option, *word);
  if (!value.ok()) return at_line(file, node.source(), name + ": " + value.error().message);
  return ConfigEntry{option, std::move(value).value()};
}

/// Inputs and sinks (ingest/config.h) stand in the same file.
bool is_for_ingest(std::string_view key) {
  return key == "input" || key == "sink" || key == "source_only_buffer";
}

}  // namespace

Result<std::vector<ConfigEntry>> parse_config(std::string_view text, const std::string& file,
                                              const std::vector<Option>& options) {
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed)
    return at_line(file, parsed.error().source(), "this is not TOML: " + std::string(parsed.error().description()));
  std::vector<ConfigEntry> entries;
  std::set<const Option*> seen;
  for (const auto& [key, node] : parsed.table()) {
    if (is_for_ingest(key.str())) continue;
    ASSIGN_OR_RETURN(ConfigEntry entry, read_entry(file, key, node, options));
    if (!seen.insert(entry.option).second)
      return at_line(file, key.source(), std::string(key.str()) + " is set twice, with - and with _");
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<std::vector<ConfigEntry>> read_config(const std::string& file, const std::vector<Option>& options) {
  std::ifstream in(file, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in.is_open() || in.bad())
    return Error(Errc::kInvalidArgument, "cannot read --config=" + file + ": " + std::strerror(errno));
  return parse_config(text, file, options);
}

}  // namespace outlast::cli
