// task ls, show, pause, resume, cancel.
#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <memory>

#include "cli/groups.h"
#include "cli/task_text.h"
#include "rpc/client.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

struct TaskOptions {
  std::string host{"127.0.0.1:26258"}, format{"table"};
  std::int64_t id{0};
};

Result<proto::TasksReply> ask(const TaskOptions& o, proto::TasksRequest::Action action, const char* command) {
  proto::TasksRequest request;
  request.set_action(action);
  request.set_task(static_cast<std::uint64_t>(o.id));
  request.set_by(asked_by(command));
  ASSIGN_OR_RETURN(proto::TasksReply reply, rpc::AdminClient(o.host).tasks(request, 5s));
  if (!reply.code().empty()) return Error(errc_from_name(reply.code()), reply.message());
  return reply;
}

int list_tasks(const TaskOptions& o) {
  const auto reply = ask(o, proto::TasksRequest::LIST, "task ls");
  if (!reply.ok()) return fail_with(reply.error());
  if (o.format != "json") {
    task_table(*reply).print(o.format);
    return kDone;
  }
  boost::json::array tasks;
  for (const auto& task : reply->tasks()) tasks.push_back(server::to_json(task));
  std::puts(boost::json::serialize(tasks).c_str());
  return kDone;
}

/// One task, after what was done to it.
int one_task(const TaskOptions& o, proto::TasksRequest::Action action, const char* command) {
  const auto reply = ask(o, action, command);
  if (!reply.ok()) return fail_with(reply.error());
  if (reply->tasks().empty())
    return fail_with(Error(Errc::kNotFound, "there is no task " + std::to_string(o.id) +
                                                "; `outlast task ls` shows those that are known"));
  const proto::TaskStatus& task = reply->tasks(0);
  std::fputs(
      o.format == "json" ? (boost::json::serialize(server::to_json(task)) + "\n").c_str() : task_text(task).c_str(),
      stdout);
  return kDone;
}

void add_one(Commands& all, const char* path, proto::TasksRequest::Action action, const char* summary,
             const char* details) {
  auto o = std::make_shared<TaskOptions>();
  o->format = "text";
  all.push_back({.path = path,
                 .summary = summary,
                 .details = details,
                 .options = {{.name = "ID",
                              .value_name = "ID",
                              .target = &o->id,
                              .help = "number of the task, as `outlast task ls` shows",
                              .required = true,
                              .min = 1},
                             host_option(o->host),
                             {.name = "--format",
                              .value_name = "FORMAT",
                              .target = &o->format,
                              .help = "how to print it",
                              .choices = {"text", "json"}}},
                 .run = [o, action, path] { return one_task(*o, action, path); }});
}

}  // namespace

void add_task(Commands& all) {
  using Request = proto::TasksRequest;
  auto list = std::make_shared<TaskOptions>();
  all.push_back(
      {.path = "task ls",
       .summary = "Show the cluster's tasks: those under way, and the last hundred that ended",
       .details = "A task is kept in the metadata store and run by the leader frontend: it survives the command that\n"
                  "asked for it, and every node. `left` and `eta` are \"-\" when the leader frontend does not answer.",
       .options = {host_option(list->host), format_option(list->format)},
       .run = [list] { return list_tasks(*list); }});
  add_one(all, "task show", Request::LIST, "Show one task, how far it is, and what it waits for", "");
  add_one(all, "task pause", Request::PAUSE, "Let a task rest: it begins nothing more until it is resumed",
          "What it began is finished: replicas that are being copied become complete. It stays paused whichever node\n"
          "runs it.");
  add_one(all, "task resume", Request::RESUME, "Let a paused task go on", "");
  add_one(all, "task cancel", Request::CANCEL, "Give a task up: a decommission's nodes stay, as after a recommission",
          "Nodes that are decommissioned already are so for good; a rolling restart leaves the nodes that it has "
          "restarted\n"
          "as they are.");
}

}  // namespace outlast::cli
