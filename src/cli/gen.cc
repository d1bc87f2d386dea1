// gen haproxy: configuration of programs that stand around a cluster.
#include <cstdio>
#include <fstream>
#include <memory>

#include "base/parse.h"
#include "cli/groups.h"
#include "cli/haproxy.h"
#include "cli/table.h"
#include "rpc/client.h"

namespace outlast::cli {
namespace {

struct GenOptions {
  std::string host{"127.0.0.1:26258"}, out{"haproxy.cfg"};
  HaproxyOptions haproxy;
};

int gen_haproxy(const GenOptions& o) {
  const auto nodes = rpc::AdminClient(o.host).node_status(std::chrono::seconds(5));
  if (!nodes.ok()) return fail_with(nodes.error());
  const auto text = haproxy_config(*nodes, o.haproxy);
  if (!text.ok()) return fail_with(text.error());
  if (o.out == "-") {
    std::fputs(text->c_str(), stdout);
    return kDone;
  }
  std::ofstream file(o.out);
  file << *text;
  file.close();
  if (!file) return fail_with(Error(Errc::kIo, "cannot write " + o.out + ": check the folder and the space left"));
  std::printf("%s written; check it with `haproxy -c -f %s`\n", o.out.c_str(), o.out.c_str());
  std::printf("server.shutdown.drain_wait has to be more than %s with it\n",
              format_duration(least_drain_wait(o.haproxy)).c_str());
  return kDone;
}

}  // namespace

void add_gen(Commands& all) {
  auto o = std::make_shared<GenOptions>();
  all.push_back(
      {.path = "gen haproxy",
       .summary = "Write a configuration for HAProxy in front of all nodes",
       .details =
           "New sessions go to the ready node with the fewest; a node that drains gets none, and keeps those that\n"
           "it has until it ends them itself. docs/operating.md says why it is as it is.\n\n"
           "  outlast gen haproxy --host=10.0.0.1:26258 --listen=:5432\n"
           "  haproxy -f haproxy.cfg",
       .options = {host_option(o->host),
                   {.name = "--out",
                    .value_name = "FILE",
                    .target = &o->out,
                    .help = "where to write it; \"-\" is the terminal"},
                   {.name = "--listen",
                    .value_name = "HOST:PORT",
                    .target = &o->haproxy.bind,
                    .help = "where HAProxy takes clients"},
                   {.name = "--inter",
                    .value_name = "TIME",
                    .target = &o->haproxy.inter,
                    .help = "between two health checks of a node"},
                   {.name = "--fall",
                    .value_name = "N",
                    .target = &o->haproxy.fall,
                    .help = "failed checks in a row that take a node out",
                    .min = 1,
                    .max = 100},
                   {.name = "--rise",
                    .value_name = "N",
                    .target = &o->haproxy.rise,
                    .help = "good checks in a row that put it back",
                    .min = 1,
                    .max = 100}},
       .run = [o] { return gen_haproxy(*o); }});
}

}  // namespace outlast::cli
