#include "sql/session/settings.h"

#include <algorithm>
#include <charconv>

#include "sql/session/settings_table.h"

namespace outlast::sql {
namespace {
std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// ParameterStatus and SHOW use these spellings.
std::string display_name(std::string_view key) {
  if (key == "datestyle") return "DateStyle";
  if (key == "timezone") return "TimeZone";
  if (key == "intervalstyle") return "IntervalStyle";
  return std::string(key);
}

// SET x TO other spellings of the same variable.
std::string canonical(std::string_view name) {
  std::string key = lower(name);
  if (key == "time zone") return "timezone";
  if (key == "names") return "client_encoding";
  if (key == "transaction isolation level") return "transaction_isolation";
  return key;
}

Error invalid(const std::string& name, std::string_view value, std::string hint) {
  Error error(Errc::kInvalidArgument, "invalid value for parameter \"" + name + "\": \"" + std::string(value) + "\"");
  error.hint = std::move(hint);
  return error;
}

bool listed(std::string_view words, std::string_view word) {
  while (!words.empty()) {
    const std::size_t end = std::min(words.find('|'), words.size());
    if (words.substr(0, end) == word) return true;
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return false;
}

std::string_view bool_word(std::string_view lowered) {
  if (lowered == "on" || lowered == "true" || lowered == "yes" || lowered == "1" || lowered == "t" || lowered == "y")
    return "on";
  if (lowered == "off" || lowered == "false" || lowered == "no" || lowered == "0" || lowered == "f" || lowered == "n")
    return "off";
  return {};
}

struct TimeUnit {
  std::string_view name;
  std::int64_t nanos;
};
constexpr TimeUnit kTimeUnits[] = {{"d", 86'400'000'000'000}, {"h", 3'600'000'000'000}, {"min", 60'000'000'000},
                                   {"s", 1'000'000'000},      {"ms", 1'000'000},        {"us", 1'000}};

// PostgreSQL shows a time in the largest unit that divides it.
std::string format_time(Duration d) {
  if (d.count() == 0) return "0";
  for (const TimeUnit& unit : kTimeUnits)
    if (d.count() % unit.nanos == 0) return std::to_string(d.count() / unit.nanos) + std::string(unit.name);
  return std::to_string(d.count() / 1'000'000) + "ms";
}

Result<std::string> check_date_style(const std::string& name, std::string_view value) {
  std::string order = "MDY";
  std::string rest = lower(value);
  while (!rest.empty()) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    std::string word = rest.substr(0, comma);
    rest.erase(0, std::min(comma + 1, rest.size()));
    std::erase(word, ' ');
    if (word == "iso" || word.empty() || word == "default") continue;
    if (word == "mdy" || word == "us" || word == "noneuro" || word == "noneuropean")
      order = "MDY";
    else if (word == "dmy" || word == "euro" || word == "european")
      order = "DMY";
    else if (word == "ymd")
      order = "YMD";
    else
      return invalid(name, value, "Dates are shown in ISO form only: use ISO, MDY.");
  }
  return "ISO, " + order;
}
}  // namespace

Result<Duration> parse_time_setting(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  double number = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  while (!unit.empty() && unit.back() == ' ') unit.remove_suffix(1);
  double nanos = unit.empty() ? 1e6 : 0;
  for (const TimeUnit& known : kTimeUnits)
    if (known.name == unit) nanos = static_cast<double>(known.nanos);
  // INT_MAX milliseconds is PostgreSQL's limit for every one of these.
  if (ec != std::errc{} || nanos == 0 || number < 0 || number * nanos > 2147483647e6)
    return Error(Errc::kInvalidArgument, "not a time: write milliseconds or a number with us, ms, s, min, h or d");
  return Duration(static_cast<std::int64_t>(number * nanos));
}

const SessionSettings::Variables& SessionSettings::fresh() {
  static const Variables all = [] {
    Variables out;
    for (const SettingRow& row : setting_table()) {
      Variable v;
      v.row = &row;
      v.name = display_name(row.name);
      v.boot = v.session = std::string(row.boot);
      v.reported = row.reported;
      if (v.reported) v.last_reported = v.boot;
      out.emplace(std::string(row.name), std::move(v));
    }
    return out;
  }();
  return all;
}

std::string_view SessionSettings::Variable::help() const {
  return row == nullptr ? "Custom option." : row->help;
}

SessionSettings::Variable* SessionSettings::own(std::string_view name) {
  const std::string key = canonical(name);
  if (const auto it = variables_.find(key); it != variables_.end()) return &it->second;
  const auto it = fresh().find(key);
  return it == fresh().end() ? nullptr : &variables_.emplace(*it).first->second;
}

const SessionSettings::Variable* SessionSettings::find(std::string_view name) const {
  const std::string key = canonical(name);
  for (const Variables* variables : {&variables_, &fresh()})
    if (const auto it = variables->find(key); it != variables->end()) return &it->second;
  return nullptr;
}

Result<std::string> SessionSettings::checked(const Variable& variable, std::string_view value, bool by_server) const {
  const SettingRow* row = variable.row;
  if (row == nullptr) return std::string(value);
  const std::string low = lower(value);
  switch (row->kind) {
    case SettingKind::kText:
      return std::string(value);
    case SettingKind::kReadOnly:
      if (by_server) return std::string(value);
      return Error(Errc::kInvalidState, "parameter \"" + variable.name + "\" cannot be changed");
    case SettingKind::kBool:
      if (const std::string_view word = bool_word(low); !word.empty()) return std::string(word);
      return Error(Errc::kInvalidArgument, "parameter \"" + variable.name + "\" requires a Boolean value");
    case SettingKind::kOnlyOn:
      if (bool_word(low) == "on") return std::string("on");
      return invalid(variable.name, value, "It is always on here.");
    case SettingKind::kInteger: {
      long n = 0;
      const auto [end, ec] = std::from_chars(low.data(), low.data() + low.size(), n);
      if (ec != std::errc{} || end != low.data() + low.size() || n < row->min || n > row->max)
        return invalid(variable.name, value,
                       "Use a number from " + std::to_string(row->min) + " to " + std::to_string(row->max) + ".");
      return std::to_string(n);
    }
    case SettingKind::kTime: {
      const Result<Duration> time = parse_time_setting(low);
      if (!time.ok())
        return invalid(variable.name, value, "Use milliseconds, or a number with us, ms, s, min, h or d.");
      return format_time(*time);
    }
    case SettingKind::kEncoding:
      if (low == "utf8" || low == "utf-8" || low == "unicode" || low == "auto") return std::string("UTF8");
      return invalid(variable.name, value, "Outlast speaks UTF8 only: set PGCLIENTENCODING=UTF8 or leave it unset.");
    case SettingKind::kDateStyle:
      return check_date_style(variable.name, value);
    case SettingKind::kIsolation:
      if (listed("serializable|repeatable read|read committed|read uncommitted", low)) return low;
      return invalid(variable.name, value,
                     "Available values: serializable, repeatable read, read committed, read uncommitted.");
    case SettingKind::kOneOf: {
      if (listed(row->allowed, low)) return low;
      std::string hint = "Available values: " + std::string(row->allowed) + ".";
      std::replace(hint.begin(), hint.end(), '|', ' ');
      return invalid(variable.name, value, hint);
    }
  }
  return std::string(value);
}

void SessionSettings::change(Variable& variable, std::string value, bool local) {
  changed_ = true;
  if (in_transaction_) undo_.push_back({lower(variable.name), variable.session, variable.local, variable.is_local});
  if (local) {
    variable.local = std::move(value);
    variable.is_local = true;
  } else {
    variable.session = std::move(value);
    variable.is_local = false;
  }
}

Result<void> SessionSettings::set_default(std::string_view name, std::string_view value, bool by_server) {
  Variable* variable = own(name);
  if (variable == nullptr) {
    TRY(set(name, value, false));  // a custom option, or the error for an unknown one
    variable = own(name);
  }
  auto checked_value = checked(*variable, value, by_server);
  if (!checked_value.ok()) return std::move(checked_value).error();
  variable->boot = variable->session = *checked_value;
  changed_ = true;
  return {};
}

Result<void> SessionSettings::set(std::string_view name, std::string_view value, bool local) {
  Variable* variable = own(name);
  if (variable == nullptr) {
    if (name.find('.') == std::string_view::npos)
      return Error(Errc::kUndefinedObject, "unrecognized configuration parameter \"" + std::string(name) + "\"");
    Variable custom;
    custom.name = canonical(name);
    variable = &variables_.emplace(canonical(name), std::move(custom)).first->second;
  }
  auto checked_value = checked(*variable, value, false);
  if (!checked_value.ok()) return std::move(checked_value).error();
  if (local && !in_transaction_) return {};  // the caller warns: it would end with this statement
  change(*variable, *std::move(checked_value), local);
  return {};
}

Result<void> SessionSettings::reset(std::string_view name) {
  Variable* variable = own(name);
  if (variable == nullptr)
    return Error(Errc::kUndefinedObject, "unrecognized configuration parameter \"" + std::string(name) + "\"");
  if (variable->row != nullptr && variable->row->kind == SettingKind::kReadOnly)
    return Error(Errc::kInvalidState, "parameter \"" + variable->name + "\" cannot be changed");
  change(*variable, variable->boot, false);
  return {};
}

void SessionSettings::reset_all() {
  for (auto& [key, variable] : variables_)
    if (variable.now() != variable.boot) change(variable, variable.boot, false);
}

Result<SettingShown> SessionSettings::show(std::string_view name) const {
  const Variable* variable = find(name);
  if (variable == nullptr)
    return Error(Errc::kUndefinedObject, "unrecognized configuration parameter \"" + std::string(name) + "\"");
  return SettingShown{variable->name, variable->now(), std::string(variable->help())};
}

std::vector<SettingShown> SessionSettings::show_all() const {
  Variables merged = variables_;
  merged.insert(fresh().begin(), fresh().end());
  std::vector<SettingShown> all;
  for (const auto& [key, variable] : merged)
    all.push_back({variable.name, variable.now(), std::string(variable.help())});
  return all;
}

const std::string& SessionSettings::value(std::string_view name) const {
  const Variable* variable = find(name);
  OUTLAST_ASSERT(variable != nullptr);
  return variable->now();
}

Duration SessionSettings::duration(std::string_view name) const {
  const Result<Duration> time = parse_time_setting(value(name));
  return time.ok() ? *time : Duration::zero();
}

void SessionSettings::undo_to(std::size_t size) {
  while (undo_.size() > size) {
    Undo& last = undo_.back();
    Variable& variable = variables_.find(last.key)->second;
    variable.session = std::move(last.session);
    variable.local = std::move(last.local);
    variable.is_local = last.is_local;
    undo_.pop_back();
    changed_ = true;
  }
}

void SessionSettings::begin() {
  in_transaction_ = true;
}

void SessionSettings::commit() {
  for (const Undo& entry : undo_) {
    Variable& variable = variables_.find(entry.key)->second;
    changed_ = changed_ || variable.is_local;
    variable.is_local = false;
  }
  undo_.clear();
  savepoints_.clear();
  in_transaction_ = false;
}

void SessionSettings::rollback() {
  undo_to(0);
  savepoints_.clear();
  in_transaction_ = false;
}

void SessionSettings::savepoint(std::string name) {
  savepoints_.emplace_back(std::move(name), undo_.size());
}

void SessionSettings::release(const std::string& name) {
  for (std::size_t i = savepoints_.size(); i-- > 0;)
    if (savepoints_[i].first == name) return savepoints_.resize(i);
}

void SessionSettings::rollback_to(const std::string& name) {
  for (std::size_t i = savepoints_.size(); i-- > 0;)
    if (savepoints_[i].first == name) {
      undo_to(savepoints_[i].second);
      return savepoints_.resize(i + 1);
    }
}

std::vector<std::pair<std::string, std::string>> SessionSettings::take_reports() {
  std::vector<std::pair<std::string, std::string>> reports;
  if (!std::exchange(reported_once_, true))
    for (const auto& [key, variable] : fresh())
      if (variable.reported) reports.emplace_back(variable.name, find(key)->now());
  const bool all = !reports.empty();
  for (auto& [key, variable] : variables_) {
    if (!variable.reported || variable.last_reported == variable.now()) continue;
    variable.last_reported = variable.now();
    if (!all) reports.emplace_back(variable.name, variable.now());
  }
  return reports;
}

}  // namespace outlast::sql
