// SHOW NODES, RANGES and TASKS.
#include "server/listings.h"
#include "server/node.h"

namespace outlast::server {

void Node::list(gateway::Listing what, Callback<std::vector<gateway::ListingRow>> done) {
  switch (what) {
    case gateway::Listing::kNodes:
      return done(listing_rows(state_->node_status()));
    case gateway::Listing::kRanges:
      return done(listing_rows(state_->ranges_reply()));
    case gateway::Listing::kPartitions:
      return done(listing_rows(state_->partitioned_mirror().snapshot(), state_->ranges()));
    case gateway::Listing::kTasks:
      break;
  }
  loop_.post([this, done = std::move(done)]() mutable {
    if (!tasks_) return done(Error(Errc::kNotReady, "the node is starting or stopping; ask another"));
    tasks_->tasks().handle({}, false, [done = std::move(done)](Result<proto::TasksReply> reply) mutable {
      if (!reply.ok()) return done(std::move(reply).error());
      if (!reply->code().empty()) return done(Error(errc_from_name(reply->code()), reply->message()));
      done(listing_rows(*reply));
    });
  });
}

}  // namespace outlast::server
