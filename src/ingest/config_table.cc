#include "ingest/config_table.h"

#include <cmath>

#include "base/parse.h"

namespace outlast::ingest {

Error config_error(const std::string& file, const toml::source_region& where, const std::string& what) {
  return {Errc::kInvalidArgument, file + ":" + std::to_string(where.begin.line) + ": " + what};
}

const toml::node* ConfigTable::get(const char* key) {
  known_.insert(key);
  return error_ ? nullptr : table_.get(key);
}

void ConfigTable::wrong(const char* key, const std::string& what) {
  if (error_) return;
  const toml::node* node = table_.get(key);
  error_ = config_error(file_, (node == nullptr ? table_.source() : node->source()),
                        (node == nullptr ? what_ : std::string(key)) + ": " + what);
}

void ConfigTable::require(const char* key, const std::string& example) {
  if (!table_.contains(key)) wrong(key, "it needs " + std::string(key) + ", such as " + key + " = " + example);
}

bool ConfigTable::text(const char* key, std::string& to) {
  const auto* node = get(key);
  if (node == nullptr) return false;
  const auto* value = node->as_string();
  if (value == nullptr)
    wrong(key, "this is a text, such as \"text\"");
  else
    to = value->get();
  return value != nullptr;
}

bool ConfigTable::texts(const char* key, std::vector<std::string>& to) {
  const auto* node = get(key);
  if (node == nullptr) return false;
  const auto* list = node->as_array();
  if (list == nullptr || (!list->empty() && !list->is_homogeneous<std::string>())) {
    wrong(key, "this is a list of texts, such as [\"a\", \"b\"]");
    return false;
  }
  to.clear();
  for (const toml::node& each : *list) to.push_back(each.as_string()->get());
  return true;
}

bool ConfigTable::flag(const char* key, bool& to) {
  const auto* node = get(key);
  if (node == nullptr) return false;
  const auto* value = node->as_boolean();
  if (value == nullptr)
    wrong(key, "this is true or false");
  else
    to = value->get();
  return value != nullptr;
}

bool ConfigTable::number(const char* key, double& to, double least) {
  const auto* node = get(key);
  if (node == nullptr) return false;
  const auto value = node->value<double>();
  if (!value || !node->is_number() || !(*value >= least) || std::isinf(*value)) {
    wrong(key, "this is a number that is not below " + std::to_string(static_cast<int>(least)));
    return false;
  }
  to = *value;
  return true;
}

bool ConfigTable::count(const char* key, std::uint32_t& to, std::uint32_t least) {
  const auto* node = get(key);
  if (node == nullptr) return false;
  const auto* value = node->as_integer();
  constexpr std::int64_t kMost = 1'000'000;
  if (value == nullptr || value->get() < least || value->get() > kMost) {
    wrong(key, "this is a whole number from " + std::to_string(least) + " to " + std::to_string(kMost));
    return false;
  }
  to = static_cast<std::uint32_t>(value->get());
  return true;
}

bool ConfigTable::bytes(const char* key, std::uint64_t& to) {
  const auto* node = get(key);
  if (node == nullptr) return false;
  if (const auto* value = node->as_integer(); value != nullptr && value->get() > 0) {
    to = static_cast<std::uint64_t>(value->get());
    return true;
  }
  const auto* given = node->as_string();
  const auto parsed = given == nullptr ? Result<std::uint64_t>(Error()) : parse_bytes(given->get());
  if (!parsed.ok() || *parsed == 0) {
    wrong(key, "this is a size, such as \"64MiB\" or a number of bytes");
    return false;
  }
  to = *parsed;
  return true;
}

bool ConfigTable::time(const char* key, Duration& to) {
  const auto* node = get(key);
  if (node == nullptr) return false;
  constexpr std::int64_t kMost = 100LL * 365 * 86'400;
  if (const auto* value = node->as_integer(); value != nullptr && value->get() >= 0 && value->get() <= kMost) {
    to = std::chrono::seconds(value->get());
    return true;
  }
  const auto* given = node->as_string();
  const auto parsed = given == nullptr ? Result<Duration>(Error()) : parse_duration(given->get());
  if (!parsed.ok()) {
    wrong(key, "this is a time, such as \"60s\" or a number of seconds");
    return false;
  }
  to = *parsed;
  return true;
}

const toml::table* ConfigTable::table(const char* key) {
  const auto* node = get(key);
  if (node == nullptr) return nullptr;
  if (!node->is_table()) wrong(key, "this is a table: write it as [sink." + std::string(key) + "]");
  return node->as_table();
}

Result<void> ConfigTable::finish() {
  if (error_) return *error_;
  for (const auto& [key, node] : table_) {
    if (known_.contains(std::string(key.str()))) continue;
    std::string all;
    for (const std::string& known : known_) all += (all.empty() ? "" : ", ") + known;
    return config_error(file_, key.source(),
                        "there is no \"" + std::string(key.str()) + "\" in " + what_ + "; there are " + all);
  }
  return {};
}

}  // namespace outlast::ingest
