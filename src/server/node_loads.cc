// What concerns loads: their HTTP requests, and the leader frontend's duty towards them.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/strand.hpp>

#include "loads/keeper.h"
#include "server/loads/load_api.h"
#include "server/node.h"

namespace outlast::server {

void Node::add_loads() {
  LoadPorts ports;
  ports.cluster = [this]() -> gateway::Cluster* { return serving_ ? cluster_.get() : nullptr; };
  ports.not_ready = [this] { return not_ready(); };
  ports.admit = [this] { return sql_->gate().admit(lifecycle::WorkKind::kLoad); };
  ports.elsewhere = [this]() -> std::string {
    if (!serving_) return {};
    const proto::NodeStatusReply nodes = state_->node_status();
    for (const proto::NodeStatus& node : nodes.nodes())
      if (node.id() != member_.node.value && node.is_live() && !node.is_draining() && !node.http_address().empty())
        return node.http_address();
    return {};
  };
  ports.http_address = [this](NodeId wanted) -> std::string {
    const proto::NodeStatusReply nodes = state_->node_status();
    for (const proto::NodeStatus& node : nodes.nodes())
      if (node.id() == wanted.value && node.is_live()) return node.http_address();
    return {};
  };
  add_load_routes(*http_, std::move(ports));
}

void Node::start_load_keeper() {
  LoadKeeper::Ports ports;
  ports.in_office = [this] { return office_->holds() && meta_->connected() && cluster_ != nullptr; };
  ports.databases = [this] {
    std::vector<std::string> names;
    for (const gateway::DatabaseRow& row : state_->databases()) names.push_back(row.name);
    return names;
  };
  ports.look = [this](std::string database, Callback<std::vector<std::string>> done) {
    using Said = Result<std::vector<std::string>>;
    const Duration keep = state_->settings().duration("load.label_keep");
    boost::asio::co_spawn(
        boost::asio::make_strand(io_.first()), loads::look_after(*cluster_, std::move(database), keep),
        [this, done = std::move(done)](const std::exception_ptr& failed, Said said) mutable {
          if (failed) said = Error(Errc::kInternal, "looking after loads failed");
          loop_.post([done = std::move(done), said = std::move(said)]() mutable { done(std::move(said)); });
        });
  };
  load_keeper_ = std::make_unique<LoadKeeper>(loop_, std::move(ports));
  load_keeper_->start();
}

}  // namespace outlast::server
