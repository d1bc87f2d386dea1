#include "rpc/hello.h"

#include <charconv>

namespace outlast::rpc {
namespace {
constexpr const char* kCluster = "outlast-cluster";
constexpr const char* kNode = "outlast-node";
constexpr const char* kIncarnation = "outlast-incarnation";
constexpr const char* kToNode = "outlast-to-node";
constexpr const char* kToIncarnation = "outlast-to-incarnation";
constexpr const char* kCode = "outlast-code: ";

template <class Id>
std::optional<Id> find_id(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata, const char* key) {
  const auto it = metadata.find(key);
  if (it == metadata.end()) return std::nullopt;
  typename Id::rep value = 0;
  const auto [end, error] = std::from_chars(it->second.begin(), it->second.end(), value);
  if (error != std::errc{} || end != it->second.end()) return std::nullopt;
  return Id(value);
}
}  // namespace

void say_hello(grpc::ClientContext& context, const Hello& self, NodeId to, Incarnation to_incarnation) {
  context.AddMetadata(kCluster, self.cluster);
  context.AddMetadata(kNode, self.node.to_string());
  context.AddMetadata(kIncarnation, self.incarnation.to_string());
  context.AddMetadata(kToNode, to.to_string());
  context.AddMetadata(kToIncarnation, to_incarnation.to_string());
}

Result<Hello> hear_hello(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata, const Hello& self) {
  const auto cluster = metadata.find(kCluster);
  const auto node = find_id<NodeId>(metadata, kNode), to = find_id<NodeId>(metadata, kToNode);
  const auto incarnation = find_id<Incarnation>(metadata, kIncarnation),
             to_incarnation = find_id<Incarnation>(metadata, kToIncarnation);
  if (cluster == metadata.end() || !node || !to || !incarnation || !to_incarnation)
    return Error(Errc::kInvalidArgument, "the call does not say who speaks to whom; it is not from an Outlast node");
  return check_hello({std::string(cluster->second.data(), cluster->second.size()), *node, *incarnation}, *to,
                     *to_incarnation, self);
}

Result<Hello> check_hello(Hello peer, NodeId to, Incarnation to_incarnation, const Hello& self) {
  if (peer.cluster != self.cluster)
    return Error(Errc::kWrongCluster,
                 "this node belongs to cluster " + self.cluster + ", the caller to " + peer.cluster);
  if (to != self.node || (to_incarnation && to_incarnation != self.incarnation))
    return Error(Errc::kUnavailable, "the call is for node " + to.to_string() + " incarnation " +
                                         to_incarnation.to_string() + "; here runs node " + self.node.to_string() +
                                         " incarnation " + self.incarnation.to_string());
  return peer;
}

grpc::Status to_status(const Error& error) {
  return {static_cast<grpc::StatusCode>(facts(error.code).grpc),
          kCode + std::string(facts(error.code).name) + " " + error.message};
}

Error to_error(const grpc::Status& status) {
  const std::string& text = status.error_message();
  const std::size_t prefix = std::char_traits<char>::length(kCode);
  if (text.compare(0, prefix, kCode) == 0) {
    const std::size_t space = text.find(' ', prefix);
    return {errc_from_name(text.substr(prefix, space - prefix)),
            space == std::string::npos ? std::string() : text.substr(space + 1)};
  }
  return {Errc::kUnavailable, text.empty() ? "the connection between the nodes ended" : text};
}

grpc::ChannelArguments channel_arguments() {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(-1);
  args.SetMaxSendMessageSize(-1);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 200);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  return args;
}

}  // namespace outlast::rpc
