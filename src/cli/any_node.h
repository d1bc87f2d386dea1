#pragma once
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "proto/peer.pb.h"

namespace outlast::cli {

/// Whoever of the cluster answers: a node that does not is left for another one whose address is known, so that a
/// command that follows something in the cluster outlives the node it began with. Thread-safety: none.
class AnyNode {
 public:
  /// `first`: an address, or several with commas between them. `tell` gets a line when another node is asked from now
  /// on.
  AnyNode(const std::string& first, std::function<void(const std::string&)> tell);

  /// Addresses of the nodes, in the order in which they would be asked: those that live and stay first. Nodes of
  /// `leaving` are asked last, the present one too: they will not be answered by the others in the end.
  void learn(const proto::NodeStatusReply& cluster, const std::set<std::uint32_t>& leaving);
  /// Asks the present node, and when it does not answer each other one once. The error is that of the first.
  /// What `call` asks for must bear being asked twice: an answer may have been lost.
  template <class Reply>
  Result<Reply> ask(const std::function<Result<Reply>(const std::string& address)>& call) {
    Result<Reply> reply = call(now());
    for (std::size_t i = 1; i < addresses_.size() && is_gone(reply); ++i) {
      Result<Reply> other = call(addresses_[(at_ + i) % addresses_.size()]);
      if (is_gone(other)) continue;
      move_on(i, reply.error());
      return other;
    }
    return reply;
  }
  const std::string& now() const { return addresses_[at_]; }

 private:
  template <class Reply>
  static bool is_gone(const Result<Reply>& reply) {
    return !reply.ok() && is_gone(reply.error().code);
  }
  static bool is_gone(Errc code);
  void move_on(std::size_t steps, const Error& why);

  std::function<void(const std::string&)> tell_;
  std::vector<std::string> addresses_;  ///< Never empty.
  std::size_t at_{0};
};

}  // namespace outlast::cli
