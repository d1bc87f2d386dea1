// What concerns loads: their HTTP requests, and the leader frontend's duty towards them.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>

#include "loads/keeper.h"
#include "server/loads/load_api.h"
#include "server/node.h"

namespace outlast::server {
namespace {
boost::asio::awaitable<void> look_at(gateway::Cluster& cluster, std::string database, Duration keep,
                                     lifecycle::Ticket ticket, Callback<std::vector<std::string>> done) {
  auto said = co_await loads::look_after(cluster, std::move(database), keep);
  ticket.end(said.ok() ? lifecycle::Outcome::kDone : lifecycle::Outcome::kFailed);
  done(std::move(said));
}
}  // namespace

void Node::add_loads() {
  LoadPorts ports;
  ports.cluster = [this]() -> gateway::Cluster* { return serving_ ? cluster_.get() : nullptr; };
  ports.not_ready = [this] { return not_ready(); };
  ports.admit = [this] { return sql_->gate().admit(lifecycle::WorkKind::kLoad); };
  ports.elsewhere = [this]() -> std::string {
    if (!serving_) return {};
    const proto::NodeStatusReply nodes = state_->node_status();
    for (const proto::NodeStatus& node : nodes.nodes())
      if (node.id() != member_.node.value && node.is_live() && !node.is_draining() && !node.http_address().empty() &&
          (node.roles().empty() || node.roles().find("frontend") != std::string::npos))
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
    auto ticket = sql_->gate().admit(lifecycle::WorkKind::kJob);
    if (!ticket.ok()) return done(std::move(ticket).error());
    boost::asio::co_spawn(
        boost::asio::make_strand(io_.first()),
        look_at(*cluster_, std::move(database), state_->settings().duration("load.label_keep"), *std::move(ticket),
                [this, done = std::move(done)](Result<std::vector<std::string>> said) mutable {
                  loop_.post([done = std::move(done), said = std::move(said)]() mutable { done(std::move(said)); });
                }),
        boost::asio::detached);
  };
  load_keeper_ = std::make_unique<LoadKeeper>(loop_, std::move(ports));
  load_keeper_->start();
}

}  // namespace outlast::server
