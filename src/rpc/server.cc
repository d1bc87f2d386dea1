#include "rpc/server.h"

#include "rpc/remote_channel.h"

namespace outlast::rpc {
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

namespace {
ServerUnaryReactor* finish(CallbackServerContext* context, const grpc::Status& status) {
  ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(status);
  return reactor;
}
Result<Hello> admitted(CallbackServerContext* context, const Services& services) {
  ASSIGN_OR_RETURN(Hello peer, hear_hello(context->client_metadata(), services.self));
  TRY(services.admit(peer));
  return peer;
}
}  // namespace

class Server::PeerService final : public proto::Peer::CallbackService {
 public:
  PeerService(Services services, boost::asio::any_io_executor executor)
      : services_(std::move(services)), executor_(std::move(executor)) {}

  grpc::ServerBidiReactor<proto::RangeMessages, proto::RangeMessages>* Replicate(
      CallbackServerContext* context) override {
    return services_.links->accept(context);
  }
  grpc::ServerBidiReactor<proto::ExecUp, proto::ExecReply>* Execute(CallbackServerContext* context) override {
    const Result<Hello> peer = admitted(context, services_);
    if (!peer.ok()) return refuse_channel(to_status(peer.error()));
    return serve_channel(services_.open_channel(), executor_);
  }
  ServerUnaryReactor* Place(CallbackServerContext* context, const proto::PlaceRequest* request,
                            proto::PlaceReply* reply) override {
    if (const Result<Hello> peer = admitted(context, services_); !peer.ok())
      return finish(context, to_status(peer.error()));
    ServerUnaryReactor* reactor = context->DefaultReactor();
    services_.place(*request, [reactor, reply](const Result<void>& result) {
      if (!result.ok()) {
        reply->set_code(std::string(facts(result.error().code).name));
        reply->set_message(result.error().message);
      }
      reactor->Finish(grpc::Status::OK);
    });
    return reactor;
  }
  ServerUnaryReactor* Digest(CallbackServerContext* context, const proto::DigestRequest* request,
                             proto::DigestReply* reply) override {
    if (const Result<Hello> peer = admitted(context, services_); !peer.ok())
      return finish(context, to_status(peer.error()));
    ServerUnaryReactor* reactor = context->DefaultReactor();
    services_.digest(RangeId(request->range()), [reactor, reply](Result<proto::DigestReply> result) {
      if (result.ok()) {
        *reply = std::move(*result);
      } else {
        reply->set_code(std::string(facts(result.error().code).name));
        reply->set_message(result.error().message);
      }
      reactor->Finish(grpc::Status::OK);
    });
    return reactor;
  }

 private:
  Services services_;
  boost::asio::any_io_executor executor_;
};

class Server::AdminService final : public proto::Admin::CallbackService {
 public:
  explicit AdminService(Services services) : services_(std::move(services)) {}
  ServerUnaryReactor* NodeStatus(CallbackServerContext* context, const proto::NodeStatusRequest*,
                                 proto::NodeStatusReply* reply) override {
    *reply = services_.node_status();
    return finish(context, grpc::Status::OK);
  }
  ServerUnaryReactor* Ranges(CallbackServerContext* context, const proto::RangesRequest*,
                             proto::RangesReply* reply) override {
    *reply = services_.ranges();
    return finish(context, grpc::Status::OK);
  }
  ServerUnaryReactor* Stop(CallbackServerContext* context, const proto::StopRequest*, proto::StopReply*) override {
    services_.stop();
    return finish(context, grpc::Status::OK);
  }

 private:
  Services services_;
};

Server::Server() = default;
Server::~Server() {
  stop();
}

Result<std::unique_ptr<Server>> Server::start(const std::string& address, Services services,
                                              boost::asio::any_io_executor executor) {
  auto server = std::unique_ptr<Server>(new Server);
  server->peer_ = std::make_unique<PeerService>(services, std::move(executor));
  server->admin_ = std::make_unique<AdminService>(std::move(services));
  grpc::ServerBuilder builder;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5'000);
  builder.SetMaxReceiveMessageSize(-1);
  builder.SetMaxSendMessageSize(-1);
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &server->port_);
  builder.RegisterService(server->peer_.get());
  builder.RegisterService(server->admin_.get());
  server->server_ = builder.BuildAndStart();
  if (!server->server_ || server->port_ == 0)
    return Error(Errc::kUnavailable, "cannot listen on " + address +
                                         " for other nodes: the address is taken or not "
                                         "ours; choose another --listen-addr");
  return server;
}

void Server::stop() {
  if (!server_) return;
  server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
  server_->Wait();
  server_.reset();
}

}  // namespace outlast::rpc
