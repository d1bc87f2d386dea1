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

void Client::place(NodeId to, Incarnation incarnation, const std::string& address, const proto::PlaceRequest& request,
                   Duration timeout, Callback<void> done) {
  struct Call {
    std::shared_ptr<proto::Peer::Stub> stub;
    grpc::ClientContext context;
    proto::PlaceRequest request;
    proto::PlaceReply reply;
    Callback<void> done;
  };
  auto call = std::make_shared<Call>();
  call->stub = stub(address);
  call->request = request;
  call->done = std::move(done);
  call->context.set_deadline(deadline_after(timeout));
  say_hello(call->context, self_, to, incarnation);
  call->stub->async()->Place(&call->context, &call->request, &call->reply, [call](const grpc::Status& status) {
    if (!status.ok())
      call->done(to_error(status));
    else if (!call->reply.code().empty())
      call->done(Error(errc_from_name(call->reply.code()), call->reply.message()));
    else
      call->done({});
  });
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
Result<proto::RangesReply> AdminClient::ranges(Duration timeout) {
  return ask<proto::RangesReply>(*stub_, &proto::Admin::Stub::Ranges, proto::RangesRequest(), timeout, address_);
}
Result<void> AdminClient::stop(Duration timeout) {
  auto reply = ask<proto::StopReply>(*stub_, &proto::Admin::Stub::Stop, proto::StopRequest(), timeout, address_);
  if (!reply.ok()) return reply.error();
  return {};
}

}  // namespace outlast::rpc
