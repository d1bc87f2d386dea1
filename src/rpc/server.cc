#include "rpc/server.h"

#include "rpc/listener.h"

namespace outlast::rpc {
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

namespace {
ServerUnaryReactor* finish(CallbackServerContext* context, const grpc::Status& status) {
  ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}
/// Finishes a call once; one that is dropped, because the node stops, is finished too.
class Finisher {
 public:
  explicit Finisher(ServerUnaryReactor* reactor) : reactor_(reactor) {}
  ~Finisher() {
    if (reactor_ != nullptr) reactor_->Finish(to_status(Error(Errc::kUnavailable, "the node is stopping")));
  }
  Finisher(const Finisher&) = delete;
  Finisher& operator=(const Finisher&) = delete;
  void finish(const grpc::Status& status) { std::exchange(reactor_, nullptr)->Finish(status); }

 private:
  ServerUnaryReactor* reactor_;
};
/// Answers when `ask` calls back.
template <class Request, class Reply>
ServerUnaryReactor* answer(CallbackServerContext* context, const Services::Ask<Request, Reply>& ask,
                           const Request& request, Reply* reply) {
  if (!ask) return finish(context, grpc::Status(grpc::UNIMPLEMENTED, "this node does not serve that call"));
  ServerUnaryReactor* reactor = context->DefaultReactor();
  ask(request, [finisher = std::make_unique<Finisher>(reactor), reply](Result<Reply> result) {
    if (result.ok()) *reply = *std::move(result);
    finisher->finish(result.ok() ? grpc::Status::OK : to_status(result.error()));
  });
  return reactor;
}
/// A reply that carries an error of ours: the call itself went well.
template <class Reply>
Reply refused(const Error& error) {
  Reply reply;
  reply.set_code(std::string(facts(error.code).name));
  reply.set_message(error.message);
  return reply;
}
Result<Hello> admitted(CallbackServerContext* context, const Services& services) {
  ASSIGN_OR_RETURN(Hello peer, hear_hello(context->client_metadata(), services.self));
  TRY(services.admit(peer));
  return peer;
}
}  // namespace

class Server::PeerService final : public proto::Peer::CallbackService {
 public:
  explicit PeerService(Services services) : services_(std::move(services)) {}

  ServerUnaryReactor* Place(CallbackServerContext* context, const proto::PlaceRequest* request,
                            proto::PlaceReply* reply) override {
    if (const Result<Hello> peer = admitted(context, services_); !peer.ok())
      return finish(context, to_status(peer.error()));
    return answer<proto::PlaceRequest, proto::PlaceReply>(
        context,
        [this](const proto::PlaceRequest& asked, Callback<proto::PlaceReply> done) {
          services_.place(asked, [done = std::move(done)](const Result<void>& result) mutable {
            done(result.ok() ? proto::PlaceReply() : refused<proto::PlaceReply>(result.error()));
          });
        },
        *request, reply);
  }
  ServerUnaryReactor* Digest(CallbackServerContext* context, const proto::DigestRequest* request,
                             proto::DigestReply* reply) override {
    if (const Result<Hello> peer = admitted(context, services_); !peer.ok())
      return finish(context, to_status(peer.error()));
    return answer<proto::DigestRequest, proto::DigestReply>(
        context,
        [this](const proto::DigestRequest& asked, Callback<proto::DigestReply> done) {
          services_.digest(asked, [done = std::move(done)](Result<proto::DigestReply> result) mutable {
            done(result.ok() ? *std::move(result) : refused<proto::DigestReply>(result.error()));
          });
        },
        *request, reply);
  }
  ServerUnaryReactor* Replicas(CallbackServerContext* context, const proto::ReplicasRequest* request,
                               proto::ReplicasReply* reply) override {
    if (const Result<Hello> peer = admitted(context, services_); !peer.ok())
      return finish(context, to_status(peer.error()));
    return answer(context, services_.replicas, *request, reply);
  }
  ServerUnaryReactor* Drain(CallbackServerContext* context, const proto::DrainRequest* request,
                            proto::DrainReply* reply) override {
    if (const Result<Hello> peer = admitted(context, services_); !peer.ok())
      return finish(context, to_status(peer.error()));
    return answer(context, services_.drain, *request, reply);
  }
  ServerUnaryReactor* Tasks(CallbackServerContext* context, const proto::TasksRequest* request,
                            proto::TasksReply* reply) override {
    if (const Result<Hello> peer = admitted(context, services_); !peer.ok())
      return finish(context, to_status(peer.error()));
    return answer<proto::TasksRequest, proto::TasksReply>(
        context,
        [this](const proto::TasksRequest& asked, Callback<proto::TasksReply> done) {
          services_.tasks(asked, true, std::move(done));
        },
        *request, reply);
  }
  ServerUnaryReactor* Restart(CallbackServerContext* context, const proto::RestartRequest* request,
                              proto::RestartReply* reply) override {
    if (const Result<Hello> peer = admitted(context, services_); !peer.ok())
      return finish(context, to_status(peer.error()));
    return answer(context, services_.restart, *request, reply);
  }
  ServerUnaryReactor* Statements(CallbackServerContext* context, const proto::StatementsRequest* request,
                                 proto::StatementsReply* reply) override {
    if (const Result<Hello> peer = admitted(context, services_); !peer.ok())
      return finish(context, to_status(peer.error()));
    return answer(context, services_.statements, *request, reply);
  }
  ServerUnaryReactor* Exiting(CallbackServerContext* context, const proto::ExitingRequest* request,
                              proto::ExitingReply* reply) override {
    if (const Result<Hello> peer = admitted(context, services_); !peer.ok())
      return finish(context, to_status(peer.error()));
    return answer(context, services_.exiting, *request, reply);
  }

 private:
  Services services_;
};

class Server::AdminService final : public proto::Admin::CallbackService {
 public:
  explicit AdminService(Services services) : services_(std::move(services)) {}
  ServerUnaryReactor* NodeStatus(CallbackServerContext* context, const proto::NodeStatusRequest* request,
                                 proto::NodeStatusReply* reply) override {
    return answer(context, services_.node_status, *request, reply);
  }
  ServerUnaryReactor* Ranges(CallbackServerContext* context, const proto::RangesRequest* request,
                             proto::RangesReply* reply) override {
    return answer(context, services_.ranges, *request, reply);
  }
  ServerUnaryReactor* Range(CallbackServerContext* context, const proto::RangeRequest* request,
                            proto::RangeReply* reply) override {
    return answer(context, services_.range, *request, reply);
  }
  ServerUnaryReactor* VerifyRange(CallbackServerContext* context, const proto::VerifyRangeRequest* request,
                                  proto::VerifyRangeReply* reply) override {
    return answer(context, services_.verify_range, *request, reply);
  }
  ServerUnaryReactor* RecoverRange(CallbackServerContext* context, const proto::RecoverRangeRequest* request,
                                   proto::RecoverRangeReply* reply) override {
    return answer(context, services_.recover_range, *request, reply);
  }
  ServerUnaryReactor* MetaStatus(CallbackServerContext* context, const proto::MetaStatusRequest* request,
                                 proto::MetaStatusReply* reply) override {
    return answer(context, services_.meta_status, *request, reply);
  }
  ServerUnaryReactor* RebuildMeta(CallbackServerContext* context, const proto::RebuildMetaRequest* request,
                                  proto::RebuildMetaReply* reply) override {
    return answer(context, services_.rebuild_meta, *request, reply);
  }
  ServerUnaryReactor* Drain(CallbackServerContext* context, const proto::DrainRequest* request,
                            proto::DrainReply* reply) override {
    return answer(context, services_.drain, *request, reply);
  }
  ServerUnaryReactor* Decommission(CallbackServerContext* context, const proto::DecommissionRequest* request,
                                   proto::DecommissionReply* reply) override {
    return answer(context, services_.decommission, *request, reply);
  }
  ServerUnaryReactor* Tasks(CallbackServerContext* context, const proto::TasksRequest* request,
                            proto::TasksReply* reply) override {
    return answer<proto::TasksRequest, proto::TasksReply>(
        context,
        [this](const proto::TasksRequest& asked, Callback<proto::TasksReply> done) {
          services_.tasks(asked, false, std::move(done));
        },
        *request, reply);
  }
  ServerUnaryReactor* Maintenance(CallbackServerContext* context, const proto::MaintenanceRequest* request,
                                  proto::MaintenanceReply* reply) override {
    return answer(context, services_.maintenance, *request, reply);
  }
  ServerUnaryReactor* SafeToStop(CallbackServerContext* context, const proto::SafeToStopRequest* request,
                                 proto::SafeToStopReply* reply) override {
    return answer(context, services_.safe_to_stop, *request, reply);
  }
  ServerUnaryReactor* RollingRestart(CallbackServerContext* context, const proto::RollingRestartRequest* request,
                                     proto::RollingRestartReply* reply) override {
    return answer(context, services_.rolling_restart, *request, reply);
  }
  ServerUnaryReactor* Stop(CallbackServerContext* context, const proto::StopRequest* request,
                           proto::StopReply* reply) override {
    return answer(context, services_.stop, *request, reply);
  }

 private:
  Services services_;
};

Server::Server() = default;
Server::~Server() {
  stop();
}

Result<std::unique_ptr<Server>> Server::start(const std::string& address, Services services,
                                              std::vector<boost::asio::any_io_executor> executors) {
  auto server = std::unique_ptr<Server>(new Server);
  server->peer_ = std::make_unique<PeerService>(services);
  server->admin_ = std::make_unique<AdminService>(services);
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  using Kind = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
  auto calls = builder.experimental().AddExternalConnectionAcceptor(Kind::FROM_FD, grpc::InsecureServerCredentials());
  builder.RegisterService(server->peer_.get());
  builder.RegisterService(server->admin_.get());
  server->server_ = builder.BuildAndStart();
  if (!server->server_) return Error(Errc::kInternal, "gRPC cannot start its server");
  server->listener_ = std::make_shared<Listener>(std::move(services), std::move(executors), std::move(calls));
  ASSIGN_OR_RETURN(server->port_, server->listener_->listen(address));
  return server;
}

Result<void> Server::also_listen(const std::string& address) {
  const auto port = listener_->listen(address);
  return port.ok() ? Result<void>() : Result<void>(port.error());
}

void Server::stop() {
  if (!server_) return;
  listener_->stop();
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  server_->Wait();
  server_.reset();
}

}  // namespace outlast::rpc
