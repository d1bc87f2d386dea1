#include "meta/settings.h"

#include "meta/cas.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {

/// The stored value if this version can read it, else the default.
SettingValue value_or_default(const SettingDef& def, const std::string* stored) {
  if (stored != nullptr)
    if (const auto value = parse_setting(def, *stored); value.ok()) return *value;
  const auto value = parse_setting(def, def.default_text);
  OUTLAST_ASSERT(value.ok(), "a setting's default must lie within its limits");
  return *value;
}

/// The value of `name` once everything in `texts` is stored.
SettingValue value_of(std::string_view name, const std::map<std::string, std::string>& texts) {
  const auto def = find_setting(name);
  OUTLAST_ASSERT(def.ok(), "no such cluster setting");
  const auto it = texts.find(std::string(name));
  return value_or_default(**def, it == texts.end() ? nullptr : &it->second);
}

liveness::Params params_of(const std::map<std::string, std::string>& texts) {
  return {.renew = Duration(value_of("liveness.renew", texts).whole),
          .ttl = Duration(value_of("liveness.ttl", texts).whole),
          .drift = value_of("liveness.drift", texts).real};
}

/// Settings that are checked together with `name`: its own key always, first.
std::vector<std::string> related(const std::string& name) {
  std::vector<std::string> names{name};
  if (!name.starts_with("liveness.")) return names;
  for (const char* other : {"liveness.renew", "liveness.ttl", "liveness.drift"})
    if (name != other) names.emplace_back(other);
  return names;
}

}  // namespace

Settings::Settings(Store& store)
    : store_(store),
      mirror_(store, std::string(keys::kSettings),
              [](std::string_view, std::string_view value) -> Result<std::string> { return std::string(value); }) {
  mirror_.on_batch([this] { answer_written(); });
}

void Settings::answer_written() {
  std::vector<Callback<void>> ready;
  std::erase_if(written_, [&](auto& waiting) {
    if (waiting.first > mirror_.revision()) return false;
    ready.push_back(std::move(waiting.second));
    return true;
  });
  for (auto& done : ready) done({});
}

SettingValue Settings::value(std::string_view name, SettingDef::Type type) const {
  const auto def = find_setting(name);
  OUTLAST_ASSERT(def.ok() && (*def)->type == type, "no such cluster setting of this type");
  const auto entry = mirror_.find(keys::setting(name));
  return value_or_default(**def, entry ? &entry->value : nullptr);
}

Duration Settings::duration(std::string_view name) const {
  return Duration(value(name, SettingDef::Type::kDuration).whole);
}
std::uint64_t Settings::bytes(std::string_view name) const {
  return static_cast<std::uint64_t>(value(name, SettingDef::Type::kBytes).whole);
}
std::int64_t Settings::number(std::string_view name) const {
  return value(name, SettingDef::Type::kInt).whole;
}
bool Settings::flag(std::string_view name) const {
  return value(name, SettingDef::Type::kBool).whole != 0;
}
double Settings::real(std::string_view name) const {
  return value(name, SettingDef::Type::kFloat).real;
}

Result<std::string> Settings::text(std::string_view name) const {
  ASSIGN_OR_RETURN(const SettingDef* def, find_setting(name));
  return format_setting(*def, value(def->name, def->type));
}

std::vector<SettingLine> Settings::lines() const {
  std::vector<SettingLine> lines;
  for (const SettingDef& def : setting_defs())
    lines.push_back({std::string(def.name), format_setting(def, value(def.name, def.type)),
                     std::string(to_string(def.type)), format_setting(def, value_or_default(def, nullptr)),
                     std::string(def.help)});
  return lines;
}

liveness::Params Settings::liveness_params() const {
  std::map<std::string, std::string> texts;
  for (const auto& entry : mirror_.snapshot()) texts.emplace(keys::rest(entry->key, keys::kSettings), entry->value);
  return params_of(texts);
}

void Settings::set(std::string name, std::string value, Callback<void> done) {
  const auto def = find_setting(name);
  if (!def.ok()) return done(def.error());
  const auto parsed = parse_setting(**def, value);
  if (!parsed.ok()) return done(parsed.error());
  change(std::string((*def)->name), format_setting(**def, *parsed), std::move(done));
}

void Settings::reset(std::string name, Callback<void> done) {
  const auto def = find_setting(name);
  if (!def.ok()) return done(def.error());
  change(std::string((*def)->name), std::nullopt, std::move(done));
}

/// Reads what must fit together, checks it with the change made, and writes if none of it changed meanwhile.
void Settings::change(std::string name, std::optional<std::string> text, Callback<void> done) {
  std::vector<std::string> read;
  for (const std::string& one : related(name)) read.push_back(keys::setting(one));
  const auto changed = std::make_shared<bool>(false);  // else no batch will come
  Planner plan = [name, text = std::move(text), changed](const Snapshot& seen) -> Result<Plan> {
    std::map<std::string, std::string> texts;
    for (const auto& [key, kv] : seen) texts.emplace(keys::rest(key, keys::kSettings), kv.value);
    if (text)
      texts[name] = *text;
    else
      texts.erase(name);
    if (name.starts_with("liveness.")) TRY(params_of(texts).validate());
    Plan next;
    const std::string key = keys::setting(name);
    if (text)
      next.ops.push_back(Op::put(key, *text));
    else if (seen.contains(key))
      next.ops.push_back(Op::del(key));
    *changed = !next.ops.empty();
    return next;
  };
  update(store_, std::move(read), std::move(plan),
         [this, alive = std::weak_ptr(alive_), changed, done = std::move(done)](Result<Revision> written) mutable {
           if (!written.ok()) return done(std::move(written).error());
           if (!*changed || alive.expired()) return done({});
           written_.emplace_back(*written, std::move(done));
           answer_written();
         });
}

void Settings::on_change(std::move_only_function<void(std::string_view)> sink) {
  mirror_.on_change([sink = std::move(sink)](const Mirror<std::string>::Change& change) mutable {
    sink(keys::rest(change.key, keys::kSettings));
  });
}

}  // namespace outlast::meta
