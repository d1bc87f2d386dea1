#include "cli/demo/proof.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <map>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

/// The node numbers of the cluster are ours; ranges name NodeIds.
std::map<NodeId, int> index_by_id(const LocalCluster& cluster) {
  std::map<NodeId, int> all;
  for (int i = 0; i < cluster.size(); ++i)
    if (const auto facts = cluster.facts(i); facts.ok()) all[facts->node] = i;
  return all;
}

/// Some nodes may have left the cluster.
Result<std::vector<RangeFacts>> ranges_by_any(const LocalCluster& cluster) {
  auto ranges = cluster.ranges(0, 5s);
  for (int i = 1; i < cluster.size() && !ranges.ok(); ++i) ranges = cluster.ranges(i, 5s);
  return ranges;
}

Result<std::vector<ReplicaDigest>> digests_of(const LocalCluster& cluster, const std::map<NodeId, int>& index,
                                              const RangeFacts& range) {
  std::vector<ReplicaDigest> digests;
  for (const NodeId node : range.insync) {
    const auto at = index.find(node);
    if (at == index.end()) return Error(Errc::kNotFound, "node " + node.to_string() + " is not one of this cluster");
    ASSIGN_OR_RETURN(const ReplicaDigest digest, cluster.digest(at->second, range.range));
    digests.push_back(digest);
  }
  return digests;
}

void compare_range(const LocalCluster& cluster, const std::map<NodeId, int>& index, const RangeFacts& range,
                   std::chrono::steady_clock::time_point deadline, ReplicaComparison& result) {
  ++result.ranges;
  std::vector<ReplicaDigest> digests;
  std::string why = "its replicas did not come to rest at one LSN";
  const auto left = std::max<Duration>(deadline - std::chrono::steady_clock::now(), 100ms);
  auto verdict = DigestVerdict::kNotAtOneLsn;
  (void)cluster.wait_until("one LSN", left, [&] {
    auto got = digests_of(cluster, index, range);
    if (!got.ok()) why = got.error().message;
    verdict = got.ok() ? judge_digests(digests = *got) : DigestVerdict::kNotAtOneLsn;
    return verdict != DigestVerdict::kNotAtOneLsn;
  });
  const std::string name = fmt::format("range {} ({})", range.range.value, range.database);
  if (verdict == DigestVerdict::kEqual) {
    result.replicas += digests.size();
  } else if (verdict == DigestVerdict::kDifferent) {
    ++result.different;
    result.details.push_back(fmt::format("{}: replicas differ at LSN {}", name, digests.front().lsn));
  } else {
    ++result.not_compared;
    result.details.push_back(name + ": " + why);
  }
}

}  // namespace

bool fully_replicated(const std::vector<RangeFacts>& ranges, int rf) {
  return !ranges.empty() && std::all_of(ranges.begin(), ranges.end(), [rf](const RangeFacts& range) {
    return range.leaseholder && range.rf >= rf && static_cast<int>(range.insync.size()) >= rf;
  });
}

DigestVerdict judge_digests(const std::vector<ReplicaDigest>& digests) {
  if (digests.empty()) return DigestVerdict::kNotAtOneLsn;
  const ReplicaDigest& first = digests.front();
  const auto all = [&](auto&& same) { return std::all_of(digests.begin(), digests.end(), same); };
  if (!all([&](const ReplicaDigest& d) { return d.lsn == first.lsn; })) return DigestVerdict::kNotAtOneLsn;
  const bool equal = all([&](const ReplicaDigest& d) { return d.crc == first.crc && d.file_size == first.file_size; });
  return equal ? DigestVerdict::kEqual : DigestVerdict::kDifferent;
}

Result<std::vector<CheckResult>> read_back(const LocalCluster& cluster, const WorkloadPlan& plan,
                                           const std::vector<ClientJournal>& journals) {
  std::vector<CheckResult> all;
  for (const std::string& url : plan.urls) {
    CheckResult& node = all.emplace_back();
    for (int i = 0; i < plan.databases; ++i) {
      auto contents = read_database(url, plan.database(i), plan.run);
      if (!contents.ok()) return std::move(contents.error()).within("reading " + plan.database(i) + " through " + url);
      node.merge(compare(journals, *contents));
    }
  }
  return all;
}

Result<ReplicaComparison> compare_replicas(const LocalCluster& cluster, Duration timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  ASSIGN_OR_RETURN(const auto ranges, ranges_by_any(cluster));
  const auto index = index_by_id(cluster);
  ReplicaComparison result;
  for (const RangeFacts& range : ranges) compare_range(cluster, index, range, deadline, result);
  return result;
}

}  // namespace outlast::cli
