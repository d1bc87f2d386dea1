// The scenario decommission: two of five nodes leave for good under load, and a third one dies meanwhile. Behind a real
// balancer, as in the scenario drain: the clients of a node that leaves go elsewhere.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdio>

#include "base/parse.h"
#include "cli/demo/run.h"
#include "cli/http_get.h"
#include "cli/pg_connection.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kAnswerLimit = 2s;
constexpr auto kBeginLimit = 15s;  ///< The pre-flight asks every node how large its replicas are.
constexpr auto kMembershipLimit = 15s;
constexpr auto kStopLimit = 15s, kStartLimit = 60s;
constexpr auto kQuietLimit = 300s;
constexpr int kQuietMoves = 3;
constexpr std::uint64_t kNoLimit = 1ULL << 40;  ///< The largest that the setting takes.
constexpr auto kEventMargin = 2s;

double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}
LatencyTimeline::Offset offset(double since_start) {
  return std::chrono::duration_cast<LatencyTimeline::Offset>(std::chrono::duration<double>(since_start));
}
std::string last_lines(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  const auto before = text.find_last_of('\n');
  return before == std::string::npos ? text : text.substr(before + 1);
}
}  // namespace

Result<void> Demo::prepare_decommission() {
  bulk_ = bulk_plan(options_.bulk.value);
  fmt::print("filling {} databases beside the load's, {} MiB in all …\n", bulk_.databases, options_.bulk.value >> 20);
  std::fflush(stdout);
  TRY(bulk_fill(bulk_, cluster_.sql_url(0)));
  report_.decommission.emplace();
  std::vector<NodeId> leave;
  SeededRandom random(static_cast<std::uint64_t>(options_.seed));
  const auto first = random.below(static_cast<std::uint64_t>(nodes()));
  const auto second =
      (first + 1 + random.below(static_cast<std::uint64_t>(nodes() - 1))) % static_cast<std::uint64_t>(nodes());
  for (const auto index : {std::min(first, second), std::max(first, second)}) {
    ASSIGN_OR_RETURN(const NodeFacts facts, cluster_.facts(static_cast<int>(index)));
    leave.push_back(facts.node);
    report_.decommission->nodes.push_back(static_cast<int>(index) + 1);
  }
  decommission_.emplace(std::move(leave), nodes(), options_.duration, decommission_ports());
  return {};
}

/// Clients know the balancer only, and run again what ended in 40001, as any application must when nodes are killed.
WorkloadPlan Demo::stubborn_plan() const {
  WorkloadPlan plan = naive_plan();
  plan.naive = false;
  return plan;
}

DecommissionAct::Ports Demo::decommission_ports() {
  return {.ask = [this](const proto::DecommissionRequest& request) { return ask_decommission(request); },
          .status = [this](std::uint64_t task) { return task_status(task); },
          .limit = [this](std::uint64_t rate) { return limit_copies(rate); },
          .kill = [this] { return kill_one_that_stays(); },
          .healed = [this] { return healed_; },
          .say =
              [this](const std::string& line) {
                last_event_ = line.substr(std::min<std::size_t>(2, line.size()));
                board_.say(line);
              }};
}

Result<proto::DecommissionReply> Demo::ask_decommission(const proto::DecommissionRequest& request) {
  ASSIGN_OR_RETURN(rpc::AdminClient* const client, admin(ready_node()));
  return client->decommission(request, kBeginLimit);
}

/// Whoever answers and knows how far it is; after the leader's end nobody may know it for a while.
Result<proto::TaskStatus> Demo::task_status(std::uint64_t task) {
  proto::TasksRequest request;
  request.set_task(task);
  Result<proto::TaskStatus> found = Error(Errc::kNotReady, "no node is ready");
  for (int i = 0; i < nodes(); ++i) {
    if (!is(i, NodeState::Phase::kReady)) continue;
    ASSIGN_OR_RETURN(rpc::AdminClient* const client, admin(i));
    const auto reply = client->tasks(request, kAnswerLimit);
    if (!reply.ok() || !reply->code().empty() || reply->tasks().empty()) {
      found = reply.ok() ? Error(Errc::kNotFound, reply->message()) : reply.error();
      continue;
    }
    found = reply->tasks(0);
    if (found->has_progress() || found->state() != "running") return found;
  }
  return found;
}

Result<void> Demo::limit_copies(std::uint64_t bytes_a_second) {
  ASSIGN_OR_RETURN(PgConnection sql, PgConnection::connect(cluster_.sql_url(ready_node()), "", 10s));
  const PgReply reply = sql.run(
      fmt::format("SET CLUSTER SETTING kv.snapshot_rebalance.max_rate = '{}KiB'", bytes_a_second >> 10), kAnswerLimit);
  if (reply.ok) return {};
  return Error(Errc::kInvalidState, reply.sqlstate + " " + reply.message);
}

int Demo::index_of(NodeId node) const {
  for (int i = 0; i < nodes(); ++i)
    if (const auto facts = cluster_.facts(i); facts.ok() && facts->node == node) return i;
  return -1;
}

/// The leader frontend when it stays: the task has to go on with another one.
Result<void> Demo::kill_one_that_stays() {
  ASSIGN_OR_RETURN(rpc::AdminClient* const client, admin(ready_node()));
  ASSIGN_OR_RETURN(const proto::NodeStatusReply status, client->node_status(kAnswerLimit));
  int victim = -1;
  bool leads = false;
  for (const proto::NodeStatus& node : status.nodes()) {
    const int index = index_of(NodeId(node.id()));
    if (index < 0 || !is(index, NodeState::Phase::kReady) ||
        std::ranges::count(decommission_->leave(), NodeId(node.id())))
      continue;
    if (victim < 0 || node.is_leader_frontend()) victim = index;
    leads = leads || node.is_leader_frontend();
  }
  if (victim < 0) return Error(Errc::kNotReady, "no node that stays is ready");
  const std::size_t before = kills_.size();
  strike({.whole_node = true, .node = victim});
  if (leads) board_.say("  it was the leader frontend");
  if (kills_.size() == before) return Error(Errc::kNotReady, "it has no process");
  return {};
}

/// Clients go on meanwhile; nothing else has to be done for a moment.
Result<void> Demo::step_decommission() {
  decommission_->step(elapsed());
  if (!decommission_->finished() || doors_seen_) return {};
  doors_seen_ = true;
  const TaskStory* const story = decommission_->story();
  if (story == nullptr || story->last.state() != "completed") return {};
  for (const int node : report_.decommission->nodes) {
    report_.decommission->doors.push_back(look_at_doors(node - 1));
    board_.say(fmt::format("  {:.0f} s: node {} is out: {}", seconds(elapsed()), node,
                           report_.decommission->doors.back().start_words));
  }
  return {};
}

DoorCheck Demo::look_at_doors(int node) {
  DoorCheck door{.node = node + 1};
  look_at_membership(door);
  auto sql = PgConnection::connect(cluster_.sql_url(node), "", kAnswerLimit);
  if (sql.ok()) {
    const PgReply reply = sql->run("SELECT 1", kAnswerLimit);
    door.sql_refused = !reply.ok;
    door.sql_words = reply.ok ? "it answered" : reply.sqlstate + " " + reply.message;
  } else {
    door.sql_refused = true;
    door.sql_words = sql.error().message;
  }
  if (const auto facts = cluster_.facts(node); facts.ok())
    if (const auto answer = http_get(facts->http_addr, "/health?ready=1", kAnswerLimit); answer.ok())
      door.ready_status = answer->status;
  if (const auto drain = ask_drain(node, {}); drain.ok()) report_.receipts.push_back(drain->status());
  state(node) = {.phase = NodeState::Phase::kGone};
  const auto asked = Steady::now();
  if (const auto code = cluster_.terminate(node, kStopLimit); !code.ok())
    cluster_.kill_node(node);
  else if (*code == 0)  // any other one is that of a process that did not end in order
    door.stopped_after_seconds = seconds(Steady::now() - asked);
  start_again(door);
  return door;
}

/// The process that was decommissioned fences itself a moment after it learnt of it.
void Demo::look_at_membership(DoorCheck& door) {
  const auto facts = cluster_.facts(door.node - 1);
  if (!facts.ok()) return;
  (void)cluster_.wait_until("its fence", kMembershipLimit, [&] {
    const int asked = static_cast<int>(std::ranges::find_if(states_,
                                                            [&](const NodeState& s) {
                                                              return s.phase == NodeState::Phase::kReady &&
                                                                     &s != &state(door.node - 1);
                                                            }) -
                                       states_.begin());
    const auto client = admin(asked);
    if (!client.ok()) return false;
    const auto status = (*client)->node_status(kAnswerLimit);
    if (!status.ok()) return false;
    for (const proto::NodeStatus& one : status->nodes()) {
      if (one.id() != facts->node.value) continue;
      door.membership = one.membership();
      door.fenced_for_good = one.is_fenced_for_good();
    }
    return door.fenced_for_good;
  });
}

void Demo::start_again(DoorCheck& door) {
  const int node = door.node - 1;
  const std::size_t known = cluster_.log_tail(node, SIZE_MAX).size();
  if (!cluster_.start(node).ok()) return;
  if (const auto code = cluster_.wait_exit(node, kStartLimit); code.ok())
    door.start_code = *code;
  else
    cluster_.kill_node(node);
  door.start_words = last_lines(cluster_.log_tail(node, SIZE_MAX).substr(known));
}

/// Now for the time that moves take, with no load and no limit.
Result<void> Demo::move_quietly() {
  if (decommission_->story() == nullptr || decommission_->story()->last.state() != "completed") return {};
  board_.say(
      fmt::format("{} times one more node joins and one leaves, without load or limit, to compare with a plain "
                  "copy …",
                  kQuietMoves));
  TRY(limit_copies(kNoLimit));
  for (int i = 0; i < kQuietMoves; ++i) TRY(replace_quietly());
  ASSIGN_OR_RETURN(report_.decommission->bulk, bulk_check(bulk_, cluster_.sql_url(ready_node())));
  return {};
}

/// A node joins, and one of the others leaves.
Result<void> Demo::replace_quietly() {
  const int leaver = ready_node(), joiner = nodes();
  states_.emplace_back();
  TRY(cluster_.start(joiner));
  if (auto ready = cluster_.wait_ready(joiner, kStartLimit); !ready.ok()) return std::move(ready).error();
  ASSIGN_OR_RETURN(const NodeFacts facts, cluster_.facts(leaver));
  proto::DecommissionRequest request;
  request.set_action(proto::DecommissionRequest::BEGIN);
  request.set_by("outlast demo");
  request.add_nodes(facts.node.value);
  ASSIGN_OR_RETURN(TaskStory story, follow_quietly(request));
  state(leaver).phase = NodeState::Phase::kGone;
  (void)cluster_.terminate(leaver, kStopLimit);
  QuietMove& quiet = report_.decommission->quiet.emplace_back();
  quiet.bytes = story.bytes;
  quiet.files = std::max<std::uint64_t>(1, story.last.nodes().empty() ? 1 : story.last.nodes(0).replicas_at_start());
  quiet.task = std::move(story);
  ASSIGN_OR_RETURN(quiet.copy_seconds, time_of_copy(dir_, quiet.bytes, quiet.files));
  return wait_replicated(kStartLimit);
}

void Demo::read_through_those_that_stayed() {
  plan_.urls.clear();
  for (int i = 0; i < nodes(); ++i)
    if (is(i, NodeState::Phase::kReady)) plan_.urls.push_back(cluster_.sql_url(i));
  report_.nodes_after = static_cast<int>(plan_.urls.size());
}

Result<TaskStory> Demo::follow_quietly(const proto::DecommissionRequest& request) {
  std::optional<TaskWatch> watch;
  std::string last = "nobody answers";
  std::uint64_t task = 0;
  TRY(cluster_.wait_until("the decommissioning of one more node", kQuietLimit, [&] {
    if (!watch) {
      const Duration asked = elapsed();
      const auto reply = ask_decommission(request);
      last = !reply.ok() ? reply.error().message : !reply->code().empty() ? reply->message() : "";
      if (!last.empty() || reply->task() == 0) return false;
      task = reply->task();
      watch.emplace(asked);
    }
    if (const auto status = task_status(task); status.ok()) watch->look(elapsed(), *status);
    return watch->story().ended.has_value();
  }));
  return watch->story();
}

/// The ratio leaves out the time around the kill: what a crash costs, the scenario crash shows. With it, beside it.
void Demo::take_decommission(const LatencyTimeline& timeline) {
  DecommissionReport& report = *report_.decommission;
  report.killed = decommission_->killed();
  report.rate_max = decommission_->limit();
  report.preflight = decommission_->preflight();
  if (!decommission_->trouble().empty()) report_.complaints.push_back(decommission_->trouble());
  const TaskStory* const story = decommission_->story();
  if (story == nullptr) return;
  report.task = *story;
  const double asked = seconds(story->asked), over = seconds(story->ended.value_or(elapsed()));
  std::vector<LatencyTimeline::Window> calm{{offset(asked), offset(over)}};
  for (const DemoEvent& event : report_.events) {
    const double back = event.at_seconds + event.ready_after_seconds.value_or(over);
    calm = {{offset(asked), offset(event.at_seconds)}, {offset(std::min(over, back)) + kEventMargin, offset(over)}};
  }
  const auto [task, quiet] = timeline.split({{offset(asked), offset(over)}});
  report_.p99_ratio = p99_ratio(timeline.split(calm).first, quiet);
  report_.p99_ratio_with_restart = p99_ratio(task, quiet);
}

}  // namespace outlast::cli
