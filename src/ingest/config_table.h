#pragma once
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::ingest {

/// Reads one table of a configuration key by key: each read says where to put the value, finish() refuses what nobody
/// asked for. The first mistake is kept and all later reads do nothing, so that a reader is a plain list of its keys.
class ConfigTable {
 public:
  /// `what` is its name in messages: "[[sink]]".
  ConfigTable(const toml::table& table, std::string file, std::string what)
      : table_(table), file_(std::move(file)), what_(std::move(what)) {}

  /// All return whether the key is there.
  bool text(const char* key, std::string& to);
  bool texts(const char* key, std::vector<std::string>& to);
  bool flag(const char* key, bool& to);
  bool number(const char* key, double& to, double least);
  bool count(const char* key, std::uint32_t& to, std::uint32_t least);
  bool bytes(const char* key, std::uint64_t& to);  ///< "64MiB", or a number of bytes.
  bool time(const char* key, Duration& to);        ///< "60s", or a number of seconds as Fluentd writes them.
  /// One of some words.
  template <class T>
  bool word(const char* key, T& to, const std::map<std::string, T>& words) {
    std::string given;
    if (!text(key, given)) return false;
    const auto found = words.find(given);
    if (found != words.end()) {
      to = found->second;
      return true;
    }
    std::string all;
    for (const auto& [name, value] : words) all += (all.empty() ? "\"" : ", \"") + name + "\"";
    wrong(key, "there is no \"" + given + "\"; there are " + all);
    return false;
  }
  /// A text that `parse` turns into what is wanted, or into an error.
  template <class T>
  bool parsed(const char* key, T& to, const std::function<Result<T>(const std::string&)>& parse) {
    std::string given;
    if (!text(key, given)) return false;
    auto value = parse(given);
    if (value.ok())
      to = std::move(value).value();
    else
      wrong(key, value.error().message);
    return true;
  }
  /// A table inside.
  const toml::table* table(const char* key);

  bool has(const char* key) const { return table_.contains(key); }
  /// A mistake in this key's value, or of the whole table when the key is not there.
  void wrong(const char* key, const std::string& what);
  void require(const char* key, const std::string& example);
  Result<void> finish();

 private:
  const toml::node* get(const char* key);
  const toml::table& table_;
  std::string file_, what_;
  std::set<std::string> known_;
  std::optional<Error> error_;
};

/// "FILE:LINE: what".
Error config_error(const std::string& file, const toml::source_region& where, const std::string& what);

}  // namespace outlast::ingest
