#pragma once
#include <string>

#include "base/ids.h"
#include "base/result.h"

namespace outlast::server {

/// STORE/NODE.json: where a serving node can be reached. Replaced atomically at each start of a worker.
struct NodeFile {
  NodeId node;
  Incarnation incarnation;
  int supervisor_pid{0}, worker_pid{0};
  std::string listen_addr, sql_addr, http_addr;
  std::string roles{};
};
std::string encode(const NodeFile& file);
/// A line of text for people and scripts: readers see the old one or the new one.
Result<void> replace_file(const std::string& path, const std::string& text);
Result<void> write_node_file(const std::string& store, const NodeFile& file);

}  // namespace outlast::server
