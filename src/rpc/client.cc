#include "rpc/client.h"

namespace outlast::rpc {
namespace {
std::chrono::system_clock::time_point deadline_after(Duration timeout) {
  return std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::microseconds>(timeout);
}
}  // namespace

Client::Client(Hello self) : self_(std::move(self)) {}

std::shared_ptr<proto::Peer::Stub> Client::stub(const std::string& address) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<proto::Peer::Stub>& found = stubs_[address];
  if (!found)
    found = proto::Peer::NewStub(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), channel_arguments()));
  return found;
}

template <class Request, class Reply>
void Client::call(const Addressee& to, const Request& request, Duration timeout,
                  void (proto::Peer::StubInterface::async_interface::*method)(grpc::ClientContext*, const Request*,
                                                                              Reply*,
                                                                              std::function<void(grpc::Status)>),
                  Callback<Reply> done) {
  struct Call {
    std::shared_ptr<proto::Peer::Stub> stub;
    grpc::ClientContext context;
    Request request;
    Reply reply;
    Callback<Reply> done;
  };
  auto call = std::make_shared<Call>();
  call->stub = stub(to.address);
  call->request = request;
  call->done = std::move(done);
  call->context.set_deadline(deadline_after(timeout));
  say_hello(call->context, self_, to.node, to.incarnation);
  (call->stub->async()->*method)(&call->context, &call->request, &call->reply, [call](const grpc::Status& status) {
    if (status.ok())
      call->done(std::move(call->reply));
    else
      call->done(to_error(status));
  });
}

namespace {
using Async = proto::Peer::StubInterface::async_interface;

/// Replies that carry an error of the other node as a code of ours.
template <class Reply>
Result<Reply> unpacked(Result<Reply> reply) {
  if (reply.ok() && !reply->code().empty()) return Error(errc_from_name(reply->code()), reply->message());
  return reply;
}
}  // namespace

void Client::place(const Addressee& to, const proto::PlaceRequest& request, Duration timeout, Callback<void> done) {
  call<proto::PlaceRequest, proto::PlaceReply>(to, request, timeout, &Async::Place,
                                               [done = std::move(done)](Result<proto::PlaceReply> reply) mutable {
                                                 reply = unpacked(std::move(reply));
                                                 done(reply.ok() ? Result<void>() : std::move(reply).error());
                                               });
}

void Client::digest(const Addressee& to, const proto::DigestRequest& request, Duration timeout,
                    Callback<proto::DigestReply> done) {
  call<proto::DigestRequest, proto::DigestReply>(
      to, request, timeout, &Async::Digest,
      [done = std::move(done)](Result<proto::DigestReply> reply) mutable { done(unpacked(std::move(reply))); });
}

void Client::replicas(const Addressee& to, const proto::ReplicasRequest& request, Duration timeout,
                      Callback<proto::ReplicasReply> done) {
  call<proto::ReplicasRequest, proto::ReplicasReply>(to, request, timeout, &Async::Replicas, std::move(done));
}

void Client::drain(const Addressee& to, const proto::DrainRequest& request, Duration timeout,
                   Callback<proto::DrainReply> done) {
  call<proto::DrainRequest, proto::DrainReply>(
      to, request, timeout, &Async::Drain,
      [done = std::move(done)](Result<proto::DrainReply> reply) mutable { done(unpacked(std::move(reply))); });
}

void Client::tasks(const Addressee& to, const proto::TasksRequest& request, Duration timeout,
                   Callback<proto::TasksReply> done) {
  call<proto::TasksRequest, proto::TasksReply>(
      to, request, timeout, &Async::Tasks,
      [done = std::move(done)](Result<proto::TasksReply> reply) mutable { done(unpacked(std::move(reply))); });
}

void Client::restart(const Addressee& to, const proto::RestartRequest& request, Duration timeout,
                     Callback<proto::RestartReply> done) {
  call<proto::RestartRequest, proto::RestartReply>(
      to, request, timeout, &Async::Restart,
      [done = std::move(done)](Result<proto::RestartReply> reply) mutable { done(unpacked(std::move(reply))); });
}

void Client::statements(const Addressee& to, Duration timeout, Callback<proto::StatementsReply> done) {
  call<proto::StatementsRequest, proto::StatementsReply>(to, {}, timeout, &Async::Statements, std::move(done));
}

void Client::exiting(const Addressee& to, const proto::ExitingRequest& request, Duration timeout,
                     Callback<proto::ExitingReply> done) {
  call<proto::ExitingRequest, proto::ExitingReply>(
      to, request, timeout, &Async::Exiting,
      [done = std::move(done)](Result<proto::ExitingReply> reply) mutable { done(unpacked(std::move(reply))); });
}

AdminClient::AdminClient(const std::string& address)
    : address_(address),
      stub_(proto::Admin::NewStub(
          grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), channel_arguments()))) {}

namespace {
template <class Reply, class Request, class Method>
Result<Reply> ask(proto::Admin::Stub& stub, Method method, const Request& request, Duration timeout,
                  const std::string& address) {
  grpc::ClientContext context;
  context.set_deadline(deadline_after(timeout));
  Reply reply;
  const grpc::Status status = (stub.*method)(&context, request, &reply);
  if (!status.ok()) return to_error(status).within("the node at " + address);
  return reply;
}
}  // namespace

Result<proto::NodeStatusReply> AdminClient::node_status(Duration timeout) {
  return ask<proto::NodeStatusReply>(*stub_, &proto::Admin::Stub::NodeStatus, proto::NodeStatusRequest(), timeout,
                                     address_);
}
Result<proto::NodeStatusReply> AdminClient::decommission_status(Duration timeout) {
  proto::NodeStatusRequest request;
  request.set_decommission(true);
  return ask<proto::NodeStatusReply>(*stub_, &proto::Admin::Stub::NodeStatus, request, timeout, address_);
}
Result<proto::RangesReply> AdminClient::ranges(Duration timeout) {
  return ask<proto::RangesReply>(*stub_, &proto::Admin::Stub::Ranges, proto::RangesRequest(), timeout, address_);
}
Result<proto::RangeReply> AdminClient::range(RangeId range, Duration timeout) {
  proto::RangeRequest request;
  request.set_range(range.value);
  return ask<proto::RangeReply>(*stub_, &proto::Admin::Stub::Range, request, timeout, address_);
}
Result<proto::VerifyRangeReply> AdminClient::verify_range(RangeId range, Duration timeout) {
  proto::VerifyRangeRequest request;
  request.set_range(range.value);
  request.set_timeout_ms(static_cast<std::uint64_t>(timeout / std::chrono::milliseconds(1)));
  // The node counts the time and says which replica used it up.
  return ask<proto::VerifyRangeReply>(*stub_, &proto::Admin::Stub::VerifyRange, request,
                                      timeout + std::chrono::seconds(5), address_);
}
Result<proto::RecoverRangeReply> AdminClient::recover_range(const proto::RecoverRangeRequest& request,
                                                            Duration timeout) {
  return ask<proto::RecoverRangeReply>(*stub_, &proto::Admin::Stub::RecoverRange, request, timeout, address_);
}
Result<proto::MetaStatusReply> AdminClient::meta_status(Duration timeout) {
  return ask<proto::MetaStatusReply>(*stub_, &proto::Admin::Stub::MetaStatus, proto::MetaStatusRequest(), timeout,
                                     address_);
}
Result<proto::RebuildMetaReply> AdminClient::rebuild_meta(const proto::RebuildMetaRequest& request, Duration timeout) {
  return ask<proto::RebuildMetaReply>(*stub_, &proto::Admin::Stub::RebuildMeta, request, timeout, address_);
}
Result<proto::DrainReply> AdminClient::drain(const proto::DrainRequest& request, Duration timeout) {
  return ask<proto::DrainReply>(*stub_, &proto::Admin::Stub::Drain, request, timeout, address_);
}
Result<proto::DecommissionReply> AdminClient::decommission(const proto::DecommissionRequest& request,
                                                           Duration timeout) {
  return ask<proto::DecommissionReply>(*stub_, &proto::Admin::Stub::Decommission, request, timeout, address_);
}
Result<proto::TasksReply> AdminClient::tasks(const proto::TasksRequest& request, Duration timeout) {
  return ask<proto::TasksReply>(*stub_, &proto::Admin::Stub::Tasks, request, timeout, address_);
}
Result<proto::MaintenanceReply> AdminClient::maintenance(const proto::MaintenanceRequest& request, Duration timeout) {
  return ask<proto::MaintenanceReply>(*stub_, &proto::Admin::Stub::Maintenance, request, timeout, address_);
}
Result<proto::SafeToStopReply> AdminClient::safe_to_stop(const proto::SafeToStopRequest& request, Duration timeout) {
  return ask<proto::SafeToStopReply>(*stub_, &proto::Admin::Stub::SafeToStop, request, timeout, address_);
}
Result<proto::RollingRestartReply> AdminClient::rolling_restart(const proto::RollingRestartRequest& request,
                                                                Duration timeout) {
  return ask<proto::RollingRestartReply>(*stub_, &proto::Admin::Stub::RollingRestart, request, timeout, address_);
}
Result<proto::StopReply> AdminClient::stop(const proto::StopRequest& request, Duration timeout) {
  return ask<proto::StopReply>(*stub_, &proto::Admin::Stub::Stop, request, timeout, address_);
}

}  // namespace outlast::rpc
