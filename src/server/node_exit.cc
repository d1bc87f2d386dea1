// Node: how its process ends, and what the leader frontend has to know of it (docs/graceful-exit.md).
#include <spdlog/spdlog.h>

#include <map>
#include <optional>

#include "server/node.h"

namespace outlast::server {
using namespace std::chrono_literals;

namespace {
constexpr Duration kAnswerLimit = 1s;
}  // namespace

/// Another node that is there, does not leave, and has the role.
bool Node::another(bool placement::Roles::* role) const {
  for (const auto& entry : state_->nodes().snapshot()) {
    const meta::NodeRecord& node = entry->value;
    if (node.node != member_.node && node.roles.*role && node.membership == meta::Membership::kActive &&
        state_->live(node.node) && !state_->draining(node.node))
      return true;
  }
  return false;
}

/// What the cluster would lack without the roles that leave; empty: nothing.
std::string Node::last_of(const placement::Roles& leaving) const {
  const auto sentence = [this](const char* role, const char* what) {
    return "node " + member_.node.to_string() + " is the last live " + role + ": without it " + what +
           "; start another one first, or say --force";
  };
  if (leaving.frontend && roles_.frontend && !another(&placement::Roles::frontend))
    return sentence("frontend", "no client can connect and nobody leads the cluster");
  if (leaving.backend && roles_.backend && !another(&placement::Roles::backend))
    return sentence("backend", "no database can be read or written");
  return {};
}

/// `outlast stop`. On the loop.
Result<proto::StopReply> Node::stop_as_asked(const proto::StopRequest& request) {
  proto::StopReply reply;
  if (!request.graceful()) {
    end(Ending::kStop);
    return reply;
  }
  placement::Roles leaving = roles_;
  if (!request.roles().empty()) {
    ASSIGN_OR_RETURN(leaving, placement::parse_roles(request.roles()));
  }
  if (!owning_ || !drain_)
    return Error(Errc::kNotReady, "the node is starting, stopping or being restarted; ask again");
  const bool whole = leaving.include(roles_);
  const bool frontend_alone = roles_.frontend && leaving == placement::Roles{true, false, false};
  if (!whole && !frontend_alone)
    return Error(Errc::kInvalidArgument, "node " + member_.node.to_string() + " has the roles " + to_string(roles_) +
                                             ": its frontend may leave alone (--roles=frontend), the others only "
                                             "together with the process (leave --roles out)");
  if (const std::string lacks = last_of(leaving); !lacks.empty()) {
    if (!request.force()) return Error(Errc::kInvalidState, lacks);
    spdlog::warn("{}", lacks);
  }
  NodeDrain::Stop how{.grace = std::chrono::milliseconds(request.timeout_ms())};
  if (request.timeout_ms() > 0) how.limit = how.grace;
  if (whole) {
    exit_with(how);
  } else {
    TRY(drain_->leave_frontend(how.limit));
    reply.set_stays(true);
  }
  return reply;
}

/// The whole process, each role in its own way. On the loop.
void Node::exit_with(NodeDrain::Stop how) {
  how.exit = {.frontend = roles_.frontend, .fragments = roles_.backend || roles_.compute};
  if (ending_soon_) return drain_->drain_for_stop(how, [] {});
  {
    const std::lock_guard lock(mutex_);
    stop_ = how;
  }
  end(Ending::kStop);
}

/// SIGUSR1: a process that is nothing else ends with its frontend.
void Node::leave_frontend() {
  loop_.post([this] {
    if (!owning_ || !drain_) return spdlog::warn("SIGUSR1: the node is starting, stopping or being restarted");
    if (!roles_.frontend) return spdlog::warn("SIGUSR1: this node is no frontend: SIGTERM ends it");
    if (const std::string lacks = last_of({.frontend = true, .backend = false, .compute = false}); !lacks.empty())
      spdlog::warn("{}", lacks);
    if (!roles_.backend && !roles_.compute) return exit_with({.grace = grace_});
    if (auto left = drain_->leave_frontend({}); !left.ok()) spdlog::warn("SIGUSR1: {}", left.error().message);
  });
}

/// Whether the leader frontend sees that this process leaves. On the loop, and so is `done`.
void Node::ask_leader(Callback<NodeId> done) {
  const auto leader = office_->leader();
  if (!leader) return done(Error(Errc::kUnavailable, "no leader frontend is in office"));
  const std::string name = "the leader frontend, node " + leader->node.to_string();
  const Error unaware(Errc::kNotReady, name + ", does not know of it yet");
  if (*leader == self()) {
    if (another(&placement::Roles::frontend))
      return done(Error(Errc::kNotReady, "this process is the leader frontend and leaves the office first"));
    return knows_of_exit(self()) ? done(member_.node) : done(unaware);
  }
  const auto view = liveness_->find(*leader);
  if (!view || view->addr.empty()) return done(Error(Errc::kUnavailable, name + ", is not live"));
  proto::ExitingRequest request;
  request.set_node(member_.node.value);
  request.set_incarnation(member_.incarnation.value);
  rpc_client_->exiting(
      {leader->node, leader->incarnation, view->addr}, request, kAnswerLimit,
      [this, node = leader->node, unaware, done = std::move(done)](Result<proto::ExitingReply> reply) mutable {
        Result<NodeId> answer = node;
        if (!reply.ok())
          answer = std::move(reply).error();
        else if (!reply->known())
          answer = unaware;
        loop_.post([answer = std::move(answer), done = std::move(done)]() mutable { done(std::move(answer)); });
      });
}

bool Node::knows_of_exit(liveness::Peer peer) const {
  const auto view = liveness_->find(peer);
  return view && view->phase == meta::Phase::kLeaving;
}

void Node::add_exit_services(rpc::Services& services) {
  services.exiting = [this](const proto::ExitingRequest& request, Callback<proto::ExitingReply> done) {
    loop_.post([this, request, done = std::move(done)]() mutable {
      if (!office_ || !office_->holds()) return done(Error(Errc::kNotReady, "this node is not the leader frontend"));
      proto::ExitingReply reply;
      reply.set_known(knows_of_exit({NodeId(request.node()), Incarnation(request.incarnation())}));
      done(std::move(reply));
    });
  };
  services.stop = [this](const proto::StopRequest& request, Callback<proto::StopReply> done) {
    loop_.post([this, request, done = std::move(done)]() mutable {
      auto reply = stop_as_asked(request);
      if (reply.ok()) return done(*std::move(reply));
      proto::StopReply refusal;
      refusal.set_code(std::string(facts(reply.error().code).name));
      refusal.set_message(reply.error().message);
      done(std::move(refusal));
    });
  };
}

/// Who leads a new range first: this node, or a live backend if it is none itself.
Result<meta::Creator> Node::creator() const {
  if (roles_.backend) return meta::Creator{member_.node, member_.incarnation, member_.store_uuid};
  std::map<NodeId, std::size_t> leases = state_->leases_by_node();
  std::optional<meta::Creator> best;
  for (const auto& entry : state_->nodes().snapshot()) {
    const meta::NodeRecord& node = entry->value;
    const auto live = state_->live(node.node);
    const bool fit = node.roles.backend && node.membership == meta::Membership::kActive && node.store.failure.empty() &&
                     live && !state_->draining(node.node);
    if (!fit || (best && leases[best->node] <= leases[node.node])) continue;
    best = meta::Creator{node.node, *live, node.store_uuid};
  }
  if (best) return *std::move(best);
  return Error(Errc::kRangeUnavailable,
               "no backend is live that could store it: start a node with the role backend, or wait for one");
}

}  // namespace outlast::server
