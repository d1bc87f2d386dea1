// meta status, meta rebuild.
#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>

#include "base/parse.h"
#include "cli/groups.h"
#include "cli/table.h"
#include "rpc/client.h"
#include "server/rebuild_view.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

struct MetaStatusOptions {
  std::string host{"127.0.0.1:26258"}, format{"table"};
};
struct RebuildOptions {
  std::string host{"127.0.0.1:26258"}, meta;
  std::vector<std::string> stores;
  bool dry_run{false}, allow_missing{false}, sure{false};
};

boost::json::object to_json(const proto::MetaStatusReply& reply) {
  boost::json::object counts;
  for (const proto::MetaCount& count : reply.counts())
    counts[count.prefix()] = boost::json::object{{"keys", count.keys()}, {"bytes", count.bytes()}};
  boost::json::array regressed;
  for (const std::uint64_t range : reply.regressed()) regressed.push_back(range);
  return {{"store", reply.store()},
          {"connected", reply.connected()},
          {"revision", reply.revision()},
          {"leader_frontend", reply.leader()},
          {"leader_incarnation", reply.leader_incarnation()},
          {"counts", std::move(counts)},
          {"regressed_ranges", std::move(regressed)},
          {"error", reply.error()}};
}

int meta_status(const MetaStatusOptions& o) {
  const auto reply = rpc::AdminClient(o.host).meta_status(15s);
  if (!reply.ok()) return fail_with(reply.error());
  if (o.format == "json") {
    std::puts(boost::json::serialize(to_json(*reply)).c_str());
  } else {
    Table table({"what", "value"});
    table.add({"store", reply->store()});
    table.add({"connected", yes(reply->connected())});
    table.add({"revision", std::to_string(reply->revision())});
    table.add({"leader frontend", reply->leader() == 0 ? "-" : "node " + std::to_string(reply->leader())});
    for (const proto::MetaCount& count : reply->counts())
      table.add({count.prefix(), std::to_string(count.keys()) + " (" + format_bytes(count.bytes()) + ")"});
    table.add({"ranges with a record that went back", joined(reply->regressed())});
    table.print(o.format);
  }
  if (!reply->error().empty()) std::fprintf(stderr, "outlast: %s\n", reply->error().c_str());
  if (!reply->regressed().empty())
    std::fputs("outlast: the metadata store lost or regressed its state; see `outlast meta rebuild --help`\n", stderr);
  return reply->error().empty() && reply->regressed().empty() ? kDone : kFailed;
}

void print_plan(const proto::RebuildMetaReply& plan) {
  Table table({"range", "database", "record", "found", "on_node", "action", "why"});
  const auto age = [](std::uint64_t epoch, std::uint64_t cfg) {
    return epoch == 0 ? std::string("-") : std::to_string(epoch) + "/" + std::to_string(cfg);
  };
  for (const proto::RebuildLine& line : plan.lines())
    table.add({std::to_string(line.range()), line.database().empty() ? "-" : line.database(),
               age(line.record_epoch(), line.record_cfg()), age(line.found_epoch(), line.found_cfg()),
               line.found_node() == 0 ? "-" : std::to_string(line.found_node()), line.action(), line.why()});
  table.print("table");
  for (const std::string& other : plan.others()) std::printf("%s\n", other.c_str());
  for (const proto::NodeAnswer& silent : plan.silent())
    std::printf("node %u was not heard: %s\n", silent.node(), silent.error().c_str());
}

/// How many lines have this action.
std::size_t count(const proto::RebuildMetaReply& plan, const std::string& action) {
  return static_cast<std::size_t>(
      std::count_if(plan.lines().begin(), plan.lines().end(),
                    [&](const proto::RebuildLine& line) { return line.action() == action; }));
}

int report(const proto::RebuildMetaReply& done) {
  std::size_t failed = 0;
  for (const proto::RebuildLine& line : done.lines()) {
    if (line.action() != "write" || line.outcome() == "written") continue;
    ++failed;
    std::fprintf(stderr, "outlast: range %llu was not written: %s\n", static_cast<unsigned long long>(line.range()),
                 line.outcome().c_str());
  }
  std::printf("%zu records written, %zu refused, %zu failed\n", count(done, "write") - failed, count(done, "refuse"),
              failed);
  return failed + count(done, "refuse") == 0 ? kDone : kFailed;
}

/// Plan, table, question, writing: the same for live nodes and stopped stores.
int rebuild(const RebuildOptions& o, const std::function<Result<proto::RebuildMetaReply>(bool dry_run)>& run) {
  const auto plan = run(true);
  if (!plan.ok()) return fail_with(plan.error());
  print_plan(*plan);
  if (count(*plan, "write") == 0 && plan->others().empty()) {
    const std::size_t refused = count(*plan, "refuse");
    std::puts(refused == 0 ? "every record is up to date: nothing is to be written" : "nothing may be written");
    return refused == 0 ? kDone : kFailed;
  }
  if (o.dry_run) {
    std::puts("dry run: nothing was changed");
    return kDone;
  }
  if (!o.sure && !confirmed("Records are written as the table says.")) {
    std::fputs("outlast: nothing was changed: confirm with \"yes\", or say --yes\n", stderr);
    return kFailed;
  }
  const auto done = run(false);
  return done.ok() ? report(*done) : fail_with(done.error());
}

int rebuild_meta(const RebuildOptions& o) {
  if (o.stores.empty()) {
    rpc::AdminClient client(o.host);
    return rebuild(o, [&](bool dry_run) {
      proto::RebuildMetaRequest request;
      request.set_dry_run(dry_run);
      request.set_allow_missing(o.allow_missing);
      return client.rebuild_meta(request, dry_run ? 30s : 10min);
    });
  }
  if (o.meta.empty()) {
    std::fputs("outlast: with --store the metadata store must be named too: --meta=URL, as for `outlast start`\n",
               stderr);
    return kUsage;
  }
  const auto offline = server::OfflineRebuild::open(o.meta, o.stores);
  if (!offline.ok()) return fail_with(offline.error());
  return rebuild(o, [&](bool dry_run) -> Result<proto::RebuildMetaReply> {
    ASSIGN_OR_RETURN(meta::RebuildPlan plan, (*offline)->plan(o.allow_missing));
    if (dry_run) return server::to_proto(plan);
    ASSIGN_OR_RETURN(const meta::RebuildPlan done, (*offline)->carry_out(std::move(plan)));
    return server::to_proto(done);
  });
}

}  // namespace

void add_meta(Commands& all) {
  auto status = std::make_shared<MetaStatusOptions>();
  all.push_back({.path = "meta status",
                 .summary = "Show the metadata store as a node sees it",
                 .details =
                     "Exit code 1 when it does not answer, or when ranges refuse to serve because their records\n"
                     "are older than what their replicas accepted.",
                 .options = {host_option(status->host), format_option(status->format)},
                 .run = [status] { return meta_status(*status); }});

  auto o = std::make_shared<RebuildOptions>();
  all.push_back(
      {.path = "meta rebuild",
       .summary = "Write range records back after the metadata store was lost or restored from an old copy",
       .details =
           "Every replica logs each configuration that it accepts. This collects the highest one of each range, from\n"
           "the live nodes (--host) or from the stores of stopped nodes (--store), and writes a record where the\n"
           "metadata store's is older or missing, by compare-and-swap and in a new epoch. It shows the plan first.\n"
           "A range is refused when an in-sync replica of that configuration was not heard: it might know a higher\n"
           "one. With --store, give the stores of all nodes at once. docs/operating.md has the whole procedure.\n\n"
           "  outlast meta rebuild --dry-run\n"
           "  outlast meta rebuild --meta=embedded:/data/meta --store=/data/n1,/data/n2,/data/n3",
       .options = {host_option(o->host),
                   {.name = "--store",
                    .value_name = "DIR",
                    .target = &o->stores,
                    .help = "stores of stopped nodes, instead of live nodes; may be repeated"},
                   {.name = "--meta",
                    .value_name = "URL",
                    .target = &o->meta,
                    .help = "with --store: the metadata store to write to"},
                   {.name = "--dry-run", .value_name = "", .target = &o->dry_run, .help = "only show the plan"},
                   {.name = "--allow-missing",
                    .value_name = "",
                    .target = &o->allow_missing,
                    .help =
                        "write records although in-sync replicas were not heard; such a range is not clean any more"},
                   {.name = "--yes", .value_name = "", .target = &o->sure, .help = "do not ask"}},
       .run = [o] { return rebuild_meta(*o); }});
}

}  // namespace outlast::cli
