#pragma once
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/security/credentials.h>

#include <memory>
#include <string>

#include "etcd/options.h"
#include "etcd/strand.h"
#include "proto/etcd.grpc.pb.h"

namespace outlast::etcd {

namespace pb = ::etcdserverpb;

/// What all calls of one store share. Lifetime: outlives every call.
struct Calls {
  Strand strand;
  CallsUnderWay under_way;
  std::string token;  ///< Of the login, sent with every call; the strand's.
};

/// Cancels a call when asked to; empty once it has ended.
using CallHandle = std::shared_ptr<grpc::ClientContext>;
template <class Reply>
using Done = std::move_only_function<void(const grpc::Status&, const Reply&)>;

std::shared_ptr<grpc::ChannelCredentials> make_credentials(const Secrets& secrets);

/// One member of etcd: a connection of its own, kept up with back-off by gRPC, and its calls. A call asks for a member
/// that knows a leader. Requests must live until `done`, which runs on the strand.
/// Thread-safety: the strand's.
class Member {
 public:
  Member(std::string address, const std::shared_ptr<grpc::ChannelCredentials>& credentials, Calls& calls);
  const std::string& address() const { return address_; }
  bool is_connected() const;
  /// Begins to connect if it is idle.
  void connect();

  CallHandle txn(const pb::TxnRequest& request, Duration timeout, Done<pb::TxnResponse> done);
  CallHandle compact(const pb::CompactionRequest& request, Duration timeout, Done<pb::CompactionResponse> done);
  CallHandle authenticate(pb::AuthenticateRequest request, Duration timeout, Done<pb::AuthenticateResponse> done);
  CallHandle status(Duration timeout, Done<pb::StatusResponse> done);
  pb::Watch::Stub& watch() { return *watch_; }

  // What the session knows of it.
  Time answered{};          ///< Last time that it answered anything.
  Time probe_not_before{};  /// Back-off of probes.
  Duration pause{};
  CallHandle probe;

 private:
  template <class Request, class Reply, class Start>
  CallHandle call(std::shared_ptr<const Request> request, Duration timeout, Done<Reply> done, Start start);
  const std::string address_;
  Calls& calls_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<pb::KV::Stub> kv_;
  const std::unique_ptr<pb::Watch::Stub> watch_;
  const std::unique_ptr<pb::Maintenance::Stub> maintenance_;
  const std::unique_ptr<pb::Auth::Stub> auth_;
};

/// What every call to etcd carries.
void prepare(grpc::ClientContext& context, const std::string& token);

}  // namespace outlast::etcd
