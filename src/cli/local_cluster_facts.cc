// Reading what nodes say about themselves.
#include <boost/json.hpp>

#include "cli/local_cluster.h"

namespace outlast::cli {
namespace {
namespace json = boost::json;

Error unreadable(const char* what, const std::exception& why) {
  return {Errc::kProtocolViolation, std::string("cannot read ") + what + ": " + why.what()};
}

/// Boost.JSON reads 5 as signed and large numbers as unsigned: take either.
template <class T>
T number(const json::object& object, const char* key) {
  return object.at(key).to_number<T>();
}

std::vector<NodeId> node_list(const json::value& value) {
  std::vector<NodeId> nodes;
  for (const json::value& item : value.as_array())  // bare ids, or objects that name their node
    nodes.emplace_back(item.is_object() ? number<std::uint32_t>(item.as_object(), "node")
                                        : item.to_number<std::uint32_t>());
  return nodes;
}

RangeFacts range_of(const json::object& object) {
  RangeFacts range;
  range.range = RangeId(number<std::uint64_t>(object, "id"));
  if (const auto* name = object.if_contains("database"); name != nullptr && name->is_string())
    range.database = std::string(name->as_string());
  const json::value& holder = object.at("leaseholder");
  if (!holder.is_null()) range.leaseholder = NodeId(holder.to_number<std::uint32_t>());
  range.insync = node_list(object.at("insync"));
  range.rf = number<int>(object, "rf");
  range.min_insync = number<int>(object, "min_insync");
  return range;
}

}  // namespace

Result<NodeFacts> parse_node_facts(std::string_view text) {
  try {
    const json::value value = json::parse(json::string_view(text.data(), text.size()));
    const json::object& o = value.as_object();
    const auto word = [&o](const char* key) { return std::string(o.at(key).as_string()); };
    const json::value* const roles = o.if_contains("roles");
    return NodeFacts{.node = NodeId(number<std::uint32_t>(o, "node_id")),
                     .pid = number<pid_t>(o, "pid"),
                     .worker_pid = number<pid_t>(o, "worker_pid"),
                     .listen_addr = word("listen_addr"),
                     .sql_addr = word("sql_addr"),
                     .http_addr = word("http_addr"),
                     .roles = roles == nullptr ? std::string() : std::string(roles->as_string())};
  } catch (const std::exception& e) {
    return unreadable("NODE.json", e);
  }
}

Result<std::vector<RangeFacts>> parse_ranges(std::string_view text) {
  try {
    const json::value value = json::parse(json::string_view(text.data(), text.size()));
    const json::array& list = value.is_array() ? value.as_array() : value.as_object().at("ranges").as_array();
    std::vector<RangeFacts> ranges;
    for (const json::value& item : list) ranges.push_back(range_of(item.as_object()));
    return ranges;
  } catch (const std::exception& e) {
    return unreadable("/api/ranges", e);
  }
}

Result<ReplicaDigest> parse_digest(std::string_view text) {
  try {
    const json::value value = json::parse(json::string_view(text.data(), text.size()));
    const json::object& o = value.as_object();
    return ReplicaDigest{.lsn = number<std::uint64_t>(o, "lsn"),
                         .epoch = number<std::uint64_t>(o, "epoch"),
                         .crc = number<std::uint64_t>(o, "crc"),
                         .file_size = number<std::uint64_t>(o, "file_size")};
  } catch (const std::exception& e) {
    return unreadable("a digest", e);
  }
}

}  // namespace outlast::cli
