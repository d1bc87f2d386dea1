// range recover --unsafe: one replica becomes the whole range again, by an operator's word.
#include <cstdio>
#include <memory>

#include "cli/range.h"
#include "cli/table.h"
#include "rpc/client.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

struct RecoverOptions {
  std::string host{"127.0.0.1:26258"}, range;
  std::int64_t from{0};
  bool is_unsafe{false}, dry_run{false}, sure{false};
};

void print_view(const RecoverOptions& o, const proto::RecoverRangeReply& reply) {
  const proto::RangeStatus& r = reply.before().status();
  std::printf(
      "range %llu (%s): epoch %llu, configuration %llu, leaseholder %s, in sync %s, learners %s, min_insync %u\n",
      static_cast<unsigned long long>(r.range()), r.database().c_str(), static_cast<unsigned long long>(r.epoch()),
      static_cast<unsigned long long>(r.cfg()), r.leaseholder() == 0 ? "none" : std::to_string(r.leaseholder()).c_str(),
      joined(r.insync()).c_str(), joined(r.learners()).c_str(), r.min_insync());
  Table table({"node", "role", "log_end", "durable", "trouble"});
  for (const proto::ReplicaState& s : reply.before().replicas())
    table.add({std::to_string(s.node()), s.role(), std::to_string(s.end_lsn()) + "@" + std::to_string(s.end_epoch()),
               std::to_string(s.durable_lsn()), s.trouble().empty() ? "-" : s.trouble()});
  for (const proto::NodeAnswer& silent : reply.before().silent())
    table.add({std::to_string(silent.node()), "silent", "-", "-", silent.error()});
  table.print("table");
  if (!reply.refused().empty()) return;
  std::printf("recovering from node %lld:\n", static_cast<long long>(o.from));
  for (const std::string& loss : reply.losses()) std::printf("  - %s\n", loss.c_str());
}

int refuse(const std::string& why) {
  std::fprintf(stderr, "outlast: refused: %s\n", why.c_str());
  return kFailed;
}

int recover(const RecoverOptions& o) {
  if (!o.is_unsafe) {
    std::fputs("outlast: this may lose acknowledged writes: say --unsafe, and look first with --dry-run\n", stderr);
    return kUsage;
  }
  const auto found = find_ranges(o.host, o.range, {});
  if (!found.ok()) return fail_with(found.error());
  rpc::AdminClient client(o.host);
  proto::RecoverRangeRequest request;
  request.set_range(found->front().range());
  request.set_from_node(static_cast<std::uint32_t>(o.from));
  request.set_dry_run(true);
  const auto view = client.recover_range(request, 15s);
  if (!view.ok()) return fail_with(view.error());
  print_view(o, *view);
  if (!view->refused().empty()) return refuse(view->refused());
  if (o.dry_run) {
    std::puts("dry run: nothing was changed");
    return kDone;
  }
  if (!o.sure && !confirmed("This cannot be undone."))
    return refuse("nothing was changed: confirm with \"yes\", or say --yes");
  request.set_dry_run(false);
  request.set_seen_cfg(view->before().status().cfg());
  const auto done = client.recover_range(request, 15s);
  if (!done.ok()) return fail_with(done.error());
  if (!done->refused().empty()) return refuse(done->refused());
  std::printf("recovered: node %lld leads range %llu alone in epoch %llu; placement adds replicas again\n",
              static_cast<long long>(o.from), static_cast<unsigned long long>(request.range()),
              static_cast<unsigned long long>(done->epoch()));
  return kDone;
}

}  // namespace

void add_range_recover(Commands& all) {
  auto o = std::make_shared<RecoverOptions>();
  all.push_back(
      {.path = "range recover",
       .summary = "Last resort: let one replica be the whole range when its in-sync set is lost",
       .details = "Refused while the range can go on by itself, or while another replica would lose less; says why.\n"
                  "Shows what is known to be lost, asks, and changes the record by compare-and-swap: a new epoch, the\n"
                  "named replica alone in sync, every other one a learner. The range is marked as not clean for ever,\n"
                  "and the event range_recovered_unsafely is kept. docs/operating.md has the whole procedure.\n\n"
                  "  outlast range recover app --unsafe --from-replica=3 --dry-run",
       .options =
           {{.name = "RANGE",
             .value_name = "RANGE",
             .target = &o->range,
             .help = "number of the range, or the name of a database",
             .required = true},
            {.name = "--from-replica",
             .value_name = "NODE",
             .target = &o->from,
             .help = "the node whose replica survives",
             .required = true,
             .min = 1,
             .max = UINT32_MAX},
            {.name = "--unsafe",
             .value_name = "",
             .target = &o->is_unsafe,
             .help = "say aloud that acknowledged writes may be lost"},
            {.name = "--dry-run", .value_name = "", .target = &o->dry_run, .help = "only show what would happen"},
            {.name = "--yes", .value_name = "", .target = &o->sure, .help = "do not ask"},
            host_option(o->host)},
       .run = [o] { return recover(*o); }});
}

}  // namespace outlast::cli
