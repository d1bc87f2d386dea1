#include "cli/any_node.h"

#include <algorithm>
#include <sstream>

namespace outlast::cli {

AnyNode::AnyNode(const std::string& first, std::function<void(const std::string&)> tell) : tell_(std::move(tell)) {
  std::istringstream words(first);
  for (std::string address; std::getline(words, address, ',');)
    if (!address.empty()) addresses_.push_back(address);
  if (addresses_.empty()) addresses_.push_back(first);
}

void AnyNode::learn(const proto::NodeStatusReply& cluster, const std::set<std::uint32_t>& leaving) {
  const std::string first = now();
  std::vector<std::string> stay, rest;
  bool first_leaves = false;
  for (const proto::NodeStatus& node : cluster.nodes()) {
    const bool leaves = leaving.contains(node.id()) || node.is_decommissioning();
    if (node.address() == first) {
      first_leaves = leaves;
      continue;
    }
    if (!node.address().empty()) (leaves || !node.is_live() ? rest : stay).push_back(node.address());
  }
  addresses_ = std::move(stay);
  addresses_.insert(first_leaves ? addresses_.end() : addresses_.begin(), first);
  addresses_.insert(addresses_.end(), rest.begin(), rest.end());
  at_ = 0;
}

bool AnyNode::is_gone(Errc code) {
  return code == Errc::kUnavailable || code == Errc::kDeadline || code == Errc::kNotReady ||
         code == Errc::kShuttingDown || code == Errc::kFenced;
}

void AnyNode::move_on(std::size_t steps, const Error& why) {
  const std::string before = now();
  at_ = (at_ + steps) % addresses_.size();
  tell_("the node at " + before + " does not answer (" + why.message + "); asking the one at " + now() + "\n");
}

}  // namespace outlast::cli
