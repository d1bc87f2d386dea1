#include "server/ports.h"

#include "executor/transaction_time.h"
#include "sql/translate/functions.h"

namespace outlast::server {
namespace {

class TransportAdapter final : public replication::Transport {
 public:
  explicit TransportAdapter(rpc::PeerLinks& links) : links_(links) {}
  void send(NodeId to, proto::RangeMessage message) override { links_.send(to, std::move(message)); }
  void send_bulk(NodeId to, proto::RangeMessage message, bool aside) override {
    links_.send_bulk(to, std::move(message), aside);
  }

 private:
  rpc::PeerLinks& links_;
};

}  // namespace

std::unique_ptr<replication::Transport> make_transport(rpc::PeerLinks& links) {
  return std::make_unique<TransportAdapter>(links);
}

storage::StoreOptions storage_options(const meta::Settings& settings, const Clock& clock) {
  storage::StoreOptions options;
  options.log_retain = [&settings] {
    return storage::LogRetention::Limits{settings.bytes("log.retain.bytes"), settings.duration("log.retain.time")};
  };
  options.now = [&clock] { return clock.now(); };
  options.txn_bytes_max = settings.bytes("txn.max_bytes");
  return options;
}

replication::Parameters replication_parameters(const meta::Settings& settings) {
  replication::Parameters parameters;
  parameters.ack_timeout = settings.duration("repl.ack_timeout");
  parameters.scrub_rate = settings.bytes("scrub.rate");
  parameters.removal_idle = settings.duration("removal.idle");
  parameters.resolve_window = settings.duration("resolve.window");
  parameters.stall = settings.duration("repl.stall");
  parameters.stuck = settings.duration("repl.stuck");
  parameters.recovery_wait = settings.duration("recovery_wait");
  parameters.snapshot_rate = settings.bytes("kv.snapshot_rebalance.max_rate");
  parameters.replication_factor = static_cast<int>(settings.number("kv.replication_factor"));
  return parameters;
}

executor::ConnectionSetup connection_setup(const Clock& clock) {
  return [&clock](sqlite3* db) {
    sql::install_functions(db, {executor::transaction_micros, [&clock] { return clock.wall_micros(); }});
  };
}

}  // namespace outlast::server
