#include "etcd/member.h"

#include <grpcpp/create_channel.h>

namespace outlast::etcd {
namespace {

grpc::ChannelArguments channel_arguments() {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(-1);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 3'000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  // etcd ends connections that ping more often than every 5 s; silent members are found by probes, not by this.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  return args;
}

}  // namespace

std::shared_ptr<grpc::ChannelCredentials> make_credentials(const Secrets& secrets) {
  if (secrets.ca.empty()) return grpc::InsecureChannelCredentials();
  grpc::SslCredentialsOptions options;
  options.pem_root_certs = secrets.ca;
  options.pem_cert_chain = secrets.cert;
  options.pem_private_key = secrets.key;
  return grpc::SslCredentials(options);
}

void prepare(grpc::ClientContext& context, const std::string& token) {
  context.AddMetadata("hasleader", "true");
  if (!token.empty()) context.AddMetadata("token", token);
}

Member::Member(std::string address, const std::shared_ptr<grpc::ChannelCredentials>& credentials, Calls& calls)
    : address_(std::move(address)),
      calls_(calls),
      channel_(grpc::CreateCustomChannel(address_, credentials, channel_arguments())),
      kv_(pb::KV::NewStub(channel_)),
      watch_(pb::Watch::NewStub(channel_)),
      maintenance_(pb::Maintenance::NewStub(channel_)),
      auth_(pb::Auth::NewStub(channel_)) {}

bool Member::is_connected() const {
  return channel_->GetState(false) == GRPC_CHANNEL_READY;
}

void Member::connect() {
  channel_->GetState(true);
}

template <class Request, class Reply, class Start>
CallHandle Member::call(std::shared_ptr<const Request> request, Duration timeout, Done<Reply> done, Start start) {
  struct State {
    grpc::ClientContext context;
    std::shared_ptr<const Request> request;
    Reply reply;
    Done<Reply> done;
  };
  auto state = std::make_shared<State>();
  state->request = std::move(request);
  state->done = std::move(done);
  prepare(state->context, calls_.token);
  state->context.set_deadline(std::chrono::system_clock::now() +
                              std::chrono::duration_cast<std::chrono::microseconds>(timeout));
  calls_.under_way.begin();
  const CallHandle handle(state, &state->context);
  start(&state->context, state->request.get(), &state->reply, [state, &calls = calls_](grpc::Status status) mutable {
    calls.strand.post([state = std::move(state), status = std::move(status)] { state->done(status, state->reply); });
    calls.under_way.end();  // from here on the store may be gone
  });
  return handle;
}

namespace {
template <class Request>
std::shared_ptr<const Request> borrowed(const Request& request) {
  return {std::shared_ptr<const void>(), &request};
}
}  // namespace

CallHandle Member::txn(const pb::TxnRequest& request, Duration timeout, Done<pb::TxnResponse> done) {
  return call<pb::TxnRequest, pb::TxnResponse>(
      borrowed(request), timeout, std::move(done),
      [this](auto* context, auto* in, auto* out, auto then) { kv_->async()->Txn(context, in, out, std::move(then)); });
}

CallHandle Member::compact(const pb::CompactionRequest& request, Duration timeout, Done<pb::CompactionResponse> done) {
  return call<pb::CompactionRequest, pb::CompactionResponse>(borrowed(request), timeout, std::move(done),
                                                             [this](auto* context, auto* in, auto* out, auto then) {
                                                               kv_->async()->Compact(context, in, out, std::move(then));
                                                             });
}

CallHandle Member::authenticate(pb::AuthenticateRequest request, Duration timeout,
                                Done<pb::AuthenticateResponse> done) {
  return call<pb::AuthenticateRequest, pb::AuthenticateResponse>(
      std::make_shared<const pb::AuthenticateRequest>(std::move(request)), timeout, std::move(done),
      [this](auto* context, auto* in, auto* out, auto then) {
        auth_->async()->Authenticate(context, in, out, std::move(then));
      });
}

CallHandle Member::status(Duration timeout, Done<pb::StatusResponse> done) {
  return call<pb::StatusRequest, pb::StatusResponse>(std::make_shared<const pb::StatusRequest>(), timeout,
                                                     std::move(done),
                                                     [this](auto* context, auto* in, auto* out, auto then) {
                                                       maintenance_->async()->Status(context, in, out, std::move(then));
                                                     });
}

}  // namespace outlast::etcd
