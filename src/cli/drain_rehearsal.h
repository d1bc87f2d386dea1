#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

/// Statements of all gateways up to one instant, as their /metrics tell.
struct StatementCounts {
  std::vector<std::pair<double, double>> up_to;  ///< Seconds and how many took no longer; the last has no limit.
  double errors{0};
  void add(const StatementCounts& other);
};
/// Reads one gateway's /metrics. kProtocolViolation when the statement times are not there.
Result<StatementCounts> parse_statement_counts(std::string_view metrics);

/// What clients felt between two instants.
struct Felt {
  double statements{0}, per_second{0}, errors{0};
  double p50_ms{0}, p99_ms{0}, p999_ms{0};  ///< Upper ends of the steps that they fell into.
};
Felt felt_between(const StatementCounts& from, const StatementCounts& to, Duration time);

struct RehearsalOptions {
  std::string name;  ///< "node 2"
  Duration time{};
  std::string by;
  bool json{false};
};
struct RehearsalPorts {
  std::function<Result<proto::DrainReply>(const proto::DrainRequest&)> ask;  ///< The node.
  std::function<Result<StatementCounts>()> statements;                       ///< Of all gateways together.
  std::function<bool(Duration)> pause;                                       ///< True: the user gave up.
  std::function<void(const std::string&)> out, err;
};

/// Hands a node's leases away for a while and says what that cost the clients of the whole cluster, beside the same
/// time before. The node takes everything back by itself, whatever becomes of this program. Returns an ExitCode.
int rehearse(const RehearsalOptions& options, const RehearsalPorts& ports);

}  // namespace outlast::cli
