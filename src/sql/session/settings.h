#pragma once
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::proto {
class SessionState;
class SessionVariable;
}  // namespace outlast::proto

namespace outlast::sql {

struct SettingRow;

struct SettingShown {
  std::string name, value, help;
};

/// The session variables that PostgreSQL clients set and ask for: SET, SET LOCAL, RESET, SHOW, and what a transaction
/// or a savepoint takes back. Names are matched without case; a name with a dot is kept as it comes (PostgreSQL's
/// custom options). Pure. Thread-safety: none.
class SessionSettings {
 public:
  /// A value from the start-up packet or from this server: also what RESET returns to. Unlike set(), it may also give
  /// values to read-only variables when `by_server`.
  Result<void> set_default(std::string_view name, std::string_view value, bool by_server = false);
  /// Errors: kUndefinedObject for an unknown name (42704), kInvalidArgument (22023) with what is allowed.
  Result<void> set(std::string_view name, std::string_view value, bool local);
  Result<void> reset(std::string_view name);
  void reset_all();
  bool known(std::string_view name) const { return find(name) != nullptr; }
  Result<SettingShown> show(std::string_view name) const;
  std::vector<SettingShown> show_all() const;
  /// The value of a variable that exists. Precondition: the name is one of ours, in its own spelling.
  const std::string& value(std::string_view name) const;
  bool is_on(std::string_view name) const { return value(name) == "on"; }
  /// A time variable, 0 = none.
  Duration duration(std::string_view name) const;

  // Transactions: what SET did since begin() is kept by commit(), except SET LOCAL, and taken back by rollback().
  void begin();
  void commit();
  void rollback();
  void savepoint(std::string name);
  void release(const std::string& name);
  void rollback_to(const std::string& name);

  /// Reported variables that changed since the last call, as name and value; all of them the first time.
  std::vector<std::pair<std::string, std::string>> take_reports();
  /// True when a value may have changed since the last call: a cheap question before each reply.
  bool take_changed() { return std::exchange(changed_, false); }

  // For a session that moves to another worker (settings_move.cc). Precondition: no transaction.
  void export_to(proto::SessionState& out) const;
  /// Fresh settings become those of a session whose client has been told all reported values.
  void begin_restore();
  /// False: there is no such variable here. kInvalidArgument for a value that cannot be had here.
  Result<bool> restore(const proto::SessionVariable& from);

 private:
  struct Variable {
    const SettingRow* row{nullptr};  ///< Null: a custom option.
    std::string name, boot, session, local;
    bool is_local{false};
    bool reported{false};
    std::string last_reported;
    const std::string& now() const { return is_local ? local : session; }
    std::string_view help() const;
  };
  using Variables = std::map<std::string, Variable, std::less<>>;  ///< By lower-case name.
  struct Undo {
    std::string key, session, local;
    bool is_local;
  };
  /// Every variable of a fresh session whose client was told the reported ones.
  static const Variables& fresh();
  /// This session's own one, to be changed; null for an unknown name.
  Variable* own(std::string_view name);
  const Variable* find(std::string_view name) const;
  Result<std::string> checked(const Variable& variable, std::string_view value, bool by_server) const;
  void change(Variable& variable, std::string value, bool local);
  void undo_to(std::size_t size);

  Variables variables_;  ///< Those that are not, or were not always, as in fresh().
  std::vector<Undo> undo_;
  std::vector<std::pair<std::string, std::size_t>> savepoints_;  ///< Name, and undo_.size() when it was set.
  bool in_transaction_{false};
  bool changed_{true};
  bool reported_once_{false};
};

/// "250", "5s", "1min" as PostgreSQL reads time variables (a bare number is milliseconds). kInvalidArgument.
Result<Duration> parse_time_setting(std::string_view text);

}  // namespace outlast::sql
