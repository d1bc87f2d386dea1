// The range record as JSON text. The only file of this room that knows the JSON library.
#include <boost/json.hpp>

#include "placement/range_config.h"

namespace outlast::placement {
namespace {
namespace json = boost::json;

constexpr std::uint64_t kFormat = 1;

json::array to_json(const std::vector<ReplicaRef>& refs) {
  json::array out;
  for (const ReplicaRef& ref : refs)
    out.push_back(json::object{
        {"node", ref.node.value}, {"store", json::string(ref.store_uuid)}, {"replica", ref.replica.value}});
  return out;
}

/// Reads fields and remembers the first that is missing or of the wrong kind.
class Reader {
 public:
  explicit Reader(const json::object& object) : object_(object) {}

  std::uint64_t number(const char* name) {
    const json::value* value = object_.if_contains(name);
    if (value == nullptr) return fail(name), 0;
    boost::system::error_code problem;
    const auto out = value->to_number<std::uint64_t>(problem);
    if (problem) return fail(name), 0;
    return out;
  }
  int small(const char* name) {
    const std::uint64_t out = number(name);
    if (out > 1000) return fail(name), 0;
    return static_cast<int>(out);
  }
  std::string text(const char* name) {
    const json::value* value = object_.if_contains(name);
    if (value == nullptr || !value->is_string()) return fail(name), std::string();
    return std::string(value->get_string());
  }
  bool flag(const char* name) {
    const json::value* value = object_.if_contains(name);
    if (value == nullptr || !value->is_bool()) return fail(name), false;
    return value->get_bool();
  }
  NodeId node(const char* name) {
    const std::uint64_t out = number(name);
    if (out > 0xffffffffU) return fail(name), NodeId();
    return NodeId(static_cast<std::uint32_t>(out));
  }
  const json::object* object(const char* name) {  // null when it is JSON null
    const json::value* value = object_.if_contains(name);
    if (value == nullptr || !(value->is_object() || value->is_null())) return fail(name), nullptr;
    return value->if_object();
  }
  std::vector<ReplicaRef> refs(const char* name) {
    std::vector<ReplicaRef> out;
    const json::value* value = object_.if_contains(name);
    if (value == nullptr || !value->is_array()) return fail(name), out;
    for (const json::value& item : value->get_array()) {
      if (!item.is_object()) return fail(name), out;
      Reader each(item.get_object());
      ReplicaRef ref{each.node("node"), each.text("store"), ReplicaId(each.number("replica"))};
      if (!each.wrong().empty()) return fail(name), out;
      out.push_back(std::move(ref));
    }
    return out;
  }
  void fail(const char* name) {
    if (wrong_.empty()) wrong_ = name;
  }
  const std::string& wrong() const { return wrong_; }

 private:
  const json::object& object_;
  std::string wrong_;
};

Error unreadable(const std::string& why) {
  return {Errc::kCorrupt, "range record is unreadable: " + why};
}

}  // namespace

std::string encode(const RangeConfig& config) {
  json::object out{{"range", config.range.value},
                   {"database", config.database.value},
                   {"epoch", config.epoch.value},
                   {"cfg", config.cfg.value},
                   {"leaseholder", nullptr},
                   {"insync", to_json(config.insync)},
                   {"learners", to_json(config.learners)},
                   {"removed", to_json(config.removed)},
                   {"next_replica", config.next_replica.value},
                   {"rf", config.rf},
                   {"min_insync", config.min_insync},
                   {"clean", config.clean}};
  if (config.leaseholder)
    out["leaseholder"] =
        json::object{{"node", config.leaseholder->node.value}, {"inc", config.leaseholder->incarnation.value}};
  return json::serialize(out);
}

Result<RangeConfig> decode_range_config(std::string_view text) {
  boost::system::error_code problem;
  const json::value parsed = json::parse(json::string_view(text.data(), text.size()), problem);
  if (problem) return unreadable(problem.message());
  if (!parsed.is_object()) return unreadable("not a JSON object");
  Reader read(parsed.get_object());
  RangeConfig config;
  // Written only by a program whose records this one would misread; fields that may be ignored need no new format.
  if (parsed.get_object().contains("format") && read.number("format") > kFormat)
    return Error(Errc::kWrongVersion,
                 "a newer version of Outlast wrote this range record; start that version or a later one");
  config.range = RangeId(read.number("range"));
  config.database = DatabaseId(read.number("database"));
  config.epoch = Epoch(read.number("epoch"));
  config.cfg = ConfigVersion(read.number("cfg"));
  if (const json::object* holder = read.object("leaseholder"); holder != nullptr) {
    Reader inner(*holder);
    config.leaseholder = Leaseholder{inner.node("node"), Incarnation(inner.number("inc"))};
    if (!inner.wrong().empty()) read.fail("leaseholder");
  }
  config.insync = read.refs("insync");
  config.learners = read.refs("learners");
  config.removed = read.refs("removed");
  config.next_replica = ReplicaId(read.number("next_replica"));
  config.rf = read.small("rf");
  config.min_insync = read.small("min_insync");
  config.clean = read.flag("clean");
  if (!read.wrong().empty()) return unreadable("field '" + read.wrong() + "' is missing or wrong");
  return config;
}

}  // namespace outlast::placement
