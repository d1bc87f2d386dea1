#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "liveness/params.h"
#include "meta/mirror.h"
#include "meta/setting_defs.h"

namespace outlast::meta {

/// One line of SHOW CLUSTER SETTINGS.
struct SettingLine {
  std::string name, value, type, default_value, help;
};

/// The cluster's settings as this node knows them: watched, with the default for what nobody set or what a newer
/// version wrote and this one cannot read.
/// Thread-safety: reading from any thread; construction, on_change() on the store's loop. `set` and `reset` from any
/// thread, calling back on the loop, or at once for what is refused without asking the store.
class Settings {
 public:
  explicit Settings(Store& store);

  bool ready() const { return mirror_.ready(); }
  // Precondition: the name is one of setting_defs() and of that type; anything else is our bug.
  Duration duration(std::string_view name) const;
  std::uint64_t bytes(std::string_view name) const;
  std::int64_t number(std::string_view name) const;
  bool flag(std::string_view name) const;
  double real(std::string_view name) const;
  /// Text in force; kUndefinedObject for an unknown name.
  Result<std::string> text(std::string_view name) const;
  std::vector<SettingLine> lines() const;
  /// liveness.renew, .ttl and .drift together.
  liveness::Params liveness_params() const;

  /// Checks type, limits and what must fit another setting, and stores the normalised text. Success when it is durable
  /// and in force here; other nodes follow within moments. Errors: kUndefinedObject, kInvalidArgument, the store's.
  void set(std::string name, std::string value, Callback<void> done);
  /// Back to the default.
  void reset(std::string name, Callback<void> done);
  /// After each change of any setting, with its name.
  void on_change(std::move_only_function<void(std::string_view name)> sink);

 private:
  SettingValue value(std::string_view name, SettingDef::Type type) const;
  void change(std::string name, std::optional<std::string> text, Callback<void> done);
  void answer_written();
  Store& store_;
  Mirror<std::string> mirror_;
  std::vector<std::pair<Revision, Callback<void>>> written_;  ///< Changes that are stored and not in the mirror yet.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace outlast::meta
