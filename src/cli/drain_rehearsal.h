#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "lifecycle/felt.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

/// Reads one gateway's /metrics. kProtocolViolation when the statement times are not there.
Result<lifecycle::StatementCounts> parse_statement_counts(std::string_view metrics);

struct RehearsalOptions {
  std::string name;  ///< "node 2"
  Duration time{};
  std::string by;
  bool json{false};
};
struct RehearsalPorts {
  std::function<Result<proto::DrainReply>(const proto::DrainRequest&)> ask;  ///< The node.
  std::function<Result<lifecycle::StatementCounts>()> statements;            ///< Of all gateways together.
  std::function<bool(Duration)> pause;                                       ///< True: the user gave up.
  std::function<void(const std::string&)> out, err;
};

/// Hands a node's leases away for a while and says what that cost the clients of the whole cluster, beside the same
/// time before. The node takes everything back by itself, whatever becomes of this program. Returns an ExitCode.
int rehearse(const RehearsalOptions& options, const RehearsalPorts& ports);

}  // namespace outlast::cli
