#include "server/node_file.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <cstring>
#include <fstream>

namespace outlast::server {

std::string encode(const NodeFile& file) {
  return boost::json::serialize(boost::json::object{{"node_id", file.node.value},
                                                    {"incarnation", file.incarnation.value},
                                                    {"pid", file.supervisor_pid},
                                                    {"worker_pid", file.worker_pid},
                                                    {"listen_addr", file.listen_addr},
                                                    {"sql_addr", file.sql_addr},
                                                    {"http_addr", file.http_addr},
                                                    {"roles", file.roles}});
}

Result<void> replace_file(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  {
    std::ofstream out(fresh, std::ios::trunc);
    out << text << "\n";
    out.close();
    if (!out) return Error(Errc::kIo, "cannot write " + fresh + ": " + std::strerror(errno));
  }
  if (std::rename(fresh.c_str(), path.c_str()) != 0)
    return Error(Errc::kIo, "cannot write " + path + ": " + std::strerror(errno));
  return {};
}

Result<void> write_node_file(const std::string& store, const NodeFile& file) {
  return replace_file(store + "/NODE.json", encode(file));
}

}  // namespace outlast::server
