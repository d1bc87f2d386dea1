// SHOW NODES, FRONTENDS, BACKENDS, COMPUTE NODES, RANGES and TASKS.
#include "server/listings.h"
#include "server/node.h"

namespace outlast::server {

namespace {
using namespace std::chrono_literals;
using Rows = std::vector<gateway::ListingRow>;
constexpr Duration kAnswerLimit = 500ms;  ///< A process that does not say what it runs is shown without.

/// Collects what the processes say; answers when the last of them has, or will not.
struct Asked {
  std::mutex mutex;
  proto::NodeStatusReply reply;  // under mutex
  Callback<proto::NodeStatusReply> done;
  ~Asked() { done(std::move(reply)); }
};
}  // namespace

/// node_status() with what runs on each node.
void Node::nodes_and_work(Callback<proto::NodeStatusReply> done) {
  if (!serving_) return done(Error(Errc::kNotReady, not_ready()));
  const auto asked = std::make_shared<Asked>();
  asked->done = std::move(done);
  const proto::NodeStatusReply seen = state_->node_status();
  asked->reply = seen;
  for (int i = 0; i < seen.nodes_size(); ++i) {
    const proto::NodeStatus& node = seen.nodes(i);
    const auto note = [asked, i](const Result<proto::StatementsReply>& reply) {
      if (!reply.ok()) return;
      const std::lock_guard lock(asked->mutex);
      asked->reply.mutable_nodes(i)->set_running_queries(reply->running());
    };
    if (NodeId(node.id()) == member_.node)
      note(statements());
    else if (const auto view = liveness_->current(NodeId(node.id()));
             view && view->state == liveness::State::kLive && !view->addr.empty())
      rpc_client_->statements({view->peer.node, view->peer.incarnation, view->addr}, kAnswerLimit, note);
  }
}

void Node::list(gateway::Listing what, Callback<Rows> done) {
  const auto with_work = [&](Rows (*rows)(const proto::NodeStatusReply&)) {
    nodes_and_work([rows, done = std::move(done)](Result<proto::NodeStatusReply> nodes) mutable {
      if (!nodes.ok()) return done(std::move(nodes).error());
      done(rows(*nodes));
    });
  };
  switch (what) {
    case gateway::Listing::kNodes:
      return done(listing_rows(state_->node_status()));
    case gateway::Listing::kRanges:
      return done(listing_rows(state_->ranges_reply()));
    case gateway::Listing::kPartitions:
      return done(listing_rows(state_->partitioned_mirror().snapshot(), state_->ranges()));
    case gateway::Listing::kFrontends:
      return with_work(frontend_rows);
    case gateway::Listing::kBackends:
      return with_work(backend_rows);
    case gateway::Listing::kComputeNodes:
      return with_work(compute_node_rows);
    case gateway::Listing::kTasks:
      break;
  }
  list_tasks([done = std::move(done)](Result<proto::TasksReply> reply) mutable {
    if (!reply.ok()) return done(std::move(reply).error());
    done(listing_rows(*reply));
  });
}

void Node::list_tasks(Callback<proto::TasksReply> done) {
  loop_.post([this, done = std::move(done)]() mutable {
    if (!tasks_) return done(Error(Errc::kNotReady, "the node is starting or stopping; ask another"));
    tasks_->tasks().handle({}, false, [done = std::move(done)](Result<proto::TasksReply> reply) mutable {
      if (reply.ok() && !reply->code().empty()) return done(Error(errc_from_name(reply->code()), reply->message()));
      done(std::move(reply));
    });
  });
}

}  // namespace outlast::server
