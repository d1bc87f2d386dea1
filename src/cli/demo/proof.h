#pragma once
#include "cli/demo/report.h"
#include "cli/local_cluster.h"

namespace outlast::cli {

/// True when every range has `rf` in-sync replicas and a leaseholder. Pure.
bool fully_replicated(const std::vector<RangeFacts>& ranges, int rf);

/// Reads every database of the plan back through every node and compares it with the journals.
Result<std::vector<CheckResult>> read_back(const LocalCluster& cluster, const WorkloadPlan& plan,
                                           const std::vector<ClientJournal>& journals);

/// Asks every in-sync replica for its digest until all of a range stand at one LSN, at most `timeout` for all ranges.
Result<ReplicaComparison> compare_replicas(const LocalCluster& cluster, Duration timeout);

/// One range's replicas by node: equal, different, or not at one LSN. Pure.
enum class DigestVerdict : std::uint8_t { kEqual, kDifferent, kNotAtOneLsn };
DigestVerdict judge_digests(const std::vector<ReplicaDigest>& digests);

}  // namespace outlast::cli
