// range ls, range show.
#include "cli/range.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
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

constexpr Duration kPatience = 10s;  // a node that does not answer is left out after a second

struct ListOptions {
  std::string host{"127.0.0.1:26258"}, format{"table"}, database;
  RangeFilter only;
};
struct ShowOptions {
  std::string host{"127.0.0.1:26258"}, format{"table"}, range;
};

std::string node_text(std::uint32_t node) {
  return node == 0 ? "-" : std::to_string(node);
}

std::string dash(const std::string& text) {
  return text.empty() ? "-" : text;
}

Table list_of(const std::vector<proto::RangeStatus>& ranges) {
  Table table({"database", "table", "partition", "range", "epoch", "leaseholder", "in_sync", "learners", "rf",
               "min_insync", "durable_lsn", "size", "clean", "trouble"});
  for (const proto::RangeStatus& r : ranges)
    table.add({r.database(), dash(r.table()), dash(r.partition()), std::to_string(r.range()), std::to_string(r.epoch()),
               node_text(r.leaseholder()), joined(r.insync()), joined(r.learners()), std::to_string(r.rf()),
               std::to_string(r.min_insync()), r.has_state() ? std::to_string(r.durable_lsn()) : "-",
               r.has_state() ? format_bytes(r.size_bytes()) : "-", yes(r.clean()),
               r.trouble().empty() ? "-" : r.trouble()});
  return table;
}

int list_ranges(const ListOptions& o) {
  auto ranges = find_ranges(o.host, {}, o.database);
  if (!ranges.ok()) return fail_with(ranges.error());
  std::erase_if(*ranges, [&o](const proto::RangeStatus& range) { return !o.only.admits(range); });
  if (o.format == "json") {
    boost::json::array all;
    for (const proto::RangeStatus& range : *ranges) all.push_back(server::to_json(range));
    std::puts(boost::json::serialize(all).c_str());
  } else {
    list_of(*ranges).print(o.format);
  }
  return kDone;
}

Table replicas_of(const proto::RangeReply& reply) {
  Table table({"node", "replica", "role", "log_end", "synced", "durable", "applied", "log_from", "log_size", "size",
               "accepted", "record", "changing", "trouble"});
  const auto age = [](std::uint64_t epoch, std::uint64_t cfg) {
    return epoch == 0 ? std::string("-") : std::to_string(epoch) + "/" + std::to_string(cfg);
  };
  for (const proto::ReplicaState& s : reply.replicas())
    table.add({std::to_string(s.node()), std::to_string(s.replica()), s.role(),
               std::to_string(s.end_lsn()) + "@" + std::to_string(s.end_epoch()), std::to_string(s.synced_lsn()),
               std::to_string(s.durable_lsn()), std::to_string(s.applied_lsn()), std::to_string(s.start_lsn()),
               format_bytes(s.log_bytes()), format_bytes(s.file_bytes()), age(s.accepted_epoch(), s.accepted_cfg()),
               age(s.record_epoch(), s.record_cfg()), yes(s.changing()), s.trouble().empty() ? "-" : s.trouble()});
  for (const proto::NodeAnswer& silent : reply.silent())
    table.add({std::to_string(silent.node()), "-", "silent", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-",
               silent.error()});
  return table;
}

int show_range(const ShowOptions& o) {
  const auto found = find_ranges(o.host, o.range, {});
  RangeId id;
  if (found.ok())
    id = RangeId(found->front().range());
  else if (const auto number = parse_int(o.range); number.ok() && *number > 0)
    id = RangeId(static_cast<std::uint64_t>(*number));  // a range without a record can be looked at too
  else
    return fail_with(found.error());
  const auto reply = rpc::AdminClient(o.host).range(id, kPatience);
  if (!reply.ok()) return fail_with(reply.error());
  if (o.format == "json") {
    std::puts(boost::json::serialize(server::to_json(*reply)).c_str());
    return kDone;
  }
  if (o.format == "table") list_of({reply->status()}).print("table");
  replicas_of(*reply).print(o.format);
  return kDone;
}

}  // namespace

bool RangeFilter::admits(const proto::RangeStatus& range) const {
  const auto named = [this](const auto& list) { return std::ranges::find(list, node) != list.end(); };
  if (node != 0 && !named(range.insync()) && !named(range.learners()) && !named(range.removed())) return false;
  if (under_replicated && range.insync_size() >= static_cast<int>(range.rf())) return false;
  return !in_trouble || !range.trouble().empty();
}

Result<std::vector<proto::RangeStatus>> find_ranges(const std::string& host, const std::string& which,
                                                    const std::string& database) {
  ASSIGN_OR_RETURN(const proto::RangesReply reply, rpc::AdminClient(host).ranges(kPatience));
  const auto number = parse_int(which);
  std::vector<proto::RangeStatus> out;
  for (const proto::RangeStatus& range : reply.ranges()) {
    const bool named = which.empty() || range.database() == which ||
                       (number.ok() && range.range() == static_cast<std::uint64_t>(*number));
    if (named && (database.empty() || range.database() == database)) out.push_back(range);
  }
  std::ranges::sort(out, {}, [](const proto::RangeStatus& range) { return range.range(); });
  if (out.empty() && !(which.empty() && database.empty()))
    return Error(Errc::kNotFound, "there is no range or database " + (which.empty() ? database : which) +
                                      "; `outlast range ls` shows those that are there");
  return out;
}

void add_range(Commands& all) {
  auto list = std::make_shared<ListOptions>();
  all.push_back({.path = "range ls",
                 .summary = "Show all ranges: who leads, who is in sync, how far, how large",
                 .details = "durable_lsn and size come from the leaseholder's node; \"-\" when it does not answer.\n"
                            "clean is false for ever after an unsafe recovery.",
                 .options = {host_option(list->host),
                             format_option(list->format),
                             {.name = "--database",
                              .value_name = "NAME",
                              .target = &list->database,
                              .help = "only the ranges of this database"},
                             {.name = "--node",
                              .value_name = "ID",
                              .target = &list->only.node,
                              .help = "only ranges with a replica on this node, also one that is to be deleted; 0: all",
                              .min = 0,
                              .max = UINT32_MAX},
                             {.name = "--under-replicated",
                              .value_name = "",
                              .target = &list->only.under_replicated,
                              .help = "only ranges with fewer in-sync replicas than rf"},
                             {.name = "--trouble",
                              .value_name = "",
                              .target = &list->only.in_trouble,
                              .help = "only ranges that do not serve"}},
                 .run = [list] { return list_ranges(*list); }});

  auto show = std::make_shared<ShowOptions>();
  all.push_back(
      {.path = "range show",
       .summary = "Show one range, each replica as its own node sees it",
       .details = "log_end is LSN@epoch; accepted and record are epoch/configuration: of the highest configuration in\n"
                  "the replica's log, and of the metadata record as its node knows it. changing: a change of the\n"
                  "record is under way, and its outcome may be in doubt. log_from: the log is kept from behind this\n"
                  "LSN. A node that does not answer is shown as silent.",
       .options = {{.name = "RANGE",
                    .value_name = "RANGE",
                    .target = &show->range,
                    .help = "number of the range, or the name of a database",
                    .required = true},
                   host_option(show->host),
                   format_option(show->format)},
       .run = [show] { return show_range(*show); }});
  add_range_verify(all);
  add_range_recover(all);
}

}  // namespace outlast::cli
