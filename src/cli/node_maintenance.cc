// node maintenance.
#include <cstdio>
#include <memory>

#include "base/parse.h"
#include "cli/groups.h"
#include "cli/table.h"
#include "rpc/client.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

struct MaintenanceOptions {
  std::string host{"127.0.0.1:26258"};
  std::int64_t id{0};
  Duration time{0};
};

int node_maintenance(const MaintenanceOptions& o) {
  proto::MaintenanceRequest request;
  request.set_node(static_cast<std::uint32_t>(o.id));
  request.set_for_ms(static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::milliseconds>(o.time).count()));
  request.set_by(asked_by("node maintenance"));
  const auto reply = rpc::AdminClient(o.host).maintenance(request, 5s);
  if (!reply.ok()) return fail_with(reply.error());
  if (!reply->code().empty()) return fail_with(Error(errc_from_name(reply->code()), reply->message()));
  if (reply->until_micros() == 0)
    std::printf("node %lld is not under maintenance\n", static_cast<long long>(o.id));
  else
    std::printf("node %lld is not taken for dead before %s UTC\n", static_cast<long long>(o.id),
                server::time_text(reply->until_micros()).c_str());
  return kDone;
}

}  // namespace

void add_node_maintenance(Commands& all) {
  auto o = std::make_shared<MaintenanceOptions>();
  all.push_back(
      {.path = "node maintenance",
       .summary = "Let a node be away for a while without its data being copied elsewhere",
       .details =
           "While it lasts the node is not taken for dead, however long server.time_until_store_dead is. It ends by\n"
           "itself when the time is over, or with --for=0. Drain the node before you stop it; while it is away its\n"
           "ranges have one replica less.\n\n"
           "  outlast node maintenance 2 --for=30m",
       .options = {{.name = "ID",
                    .value_name = "ID",
                    .target = &o->id,
                    .help = "id of the node, as `outlast node status` shows",
                    .required = true,
                    .min = 1,
                    .max = UINT32_MAX},
                   host_option(o->host),
                   {.name = "--for",
                    .value_name = "TIME",
                    .target = &o->time,
                    .help = "how long from now on; a new time replaces the old one",
                    .required = true}},
       .run = [o] { return node_maintenance(*o); }});
}

}  // namespace outlast::cli
