#pragma once
#include <grpcpp/grpcpp.h>

#include <optional>
#include <string>

#include "base/ids.h"
#include "base/result.h"

namespace outlast::rpc {

/// Who speaks. Each call and each stream between nodes begins with it and the addressed node and incarnation: one that
/// reaches another process than the meant one (a reused port, an old worker during a handover) is refused (A8.1).
struct Hello {
  std::string cluster;
  NodeId node;
  Incarnation incarnation;
};

/// Adds the sender and the addressee to a call. `to_incarnation` 0 = whichever runs.
void say_hello(grpc::ClientContext& context, const Hello& self, NodeId to, Incarnation to_incarnation);
/// Checks a call's metadata against `self`. kWrongCluster, kUnavailable (another node or incarnation),
/// kInvalidArgument.
Result<Hello> hear_hello(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata, const Hello& self);
/// The check itself, for whatever carried the words.
Result<Hello> check_hello(Hello peer, NodeId to, Incarnation to_incarnation, const Hello& self);

grpc::Status to_status(const Error& error);
Error to_error(const grpc::Status& status);

/// Channel arguments that every connection between nodes uses: no message limit, quick reconnects, keep-alive.
grpc::ChannelArguments channel_arguments();

}  // namespace outlast::rpc
