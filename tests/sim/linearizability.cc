#include "tests/sim/linearizability.h"

#include <algorithm>
#include <unordered_set>

namespace outlast::sim {
namespace {
using Kind = Operation::Kind;

/// The state after `op`, or none when `op` could not have seen what it says in state `state`.
std::optional<std::string> next_state(const std::string& state, const Operation& op) {
  const auto saw = [&](const std::string& what) { return !op.result || *op.result == what; };
  switch (op.kind) {
    case Kind::kRead:
      return saw(state) ? std::optional(state) : std::nullopt;
    case Kind::kWrite:
      return op.argument;
    case Kind::kAppend:
      return state + op.argument;
    case Kind::kSwap:
      return saw(state) ? std::optional(op.argument) : std::nullopt;
    case Kind::kInsert:
      return saw(state) ? std::optional<std::string>("1") : std::nullopt;
    case Kind::kRemove:
      return saw(state) ? std::optional<std::string>("") : std::nullopt;
  }
  return std::nullopt;
}

/// A call or a return in a doubly linked list, by time.
struct Node {
  std::size_t op{0};
  bool is_call{false};
  int match{-1};  ///< Of a call: its return, or -1.
  int prev{-1}, next{-1};
};

class Search {
 public:
  explicit Search(const std::vector<Operation>& ops) : ops_(ops), placed_((ops.size() + 63) / 64) {
    struct Moment {
      std::uint64_t at;
      bool is_call;
      std::size_t op;
    };
    std::vector<Moment> moments;
    for (std::size_t i = 0; i < ops.size(); ++i) {
      moments.push_back({ops[i].invoked, true, i});
      if (ops[i].returned != Operation::kNever) moments.push_back({ops[i].returned, false, i}), ++to_place_;
    }
    std::sort(moments.begin(), moments.end(), [](const Moment& a, const Moment& b) { return a.at < b.at; });
    nodes_.resize(moments.size() + 1);  // 0 is the head
    std::vector<int> calls(ops.size());
    for (std::size_t i = 0; i < moments.size(); ++i) {
      const int n = static_cast<int>(i) + 1;
      nodes_[n] = {moments[i].op, moments[i].is_call, -1, n - 1, i + 1 == moments.size() ? -1 : n + 1};
      if (moments[i].is_call)
        calls[moments[i].op] = n;
      else
        nodes_[calls[moments[i].op]].match = n;
    }
    nodes_[0].next = moments.empty() ? -1 : 1;
  }

  Verdict run(std::uint64_t steps_max) {
    int at = nodes_[0].next;
    std::string state;
    while (to_place_ > 0) {
      if (steps_max-- == 0) return Verdict::kTooHard;
      if (at != -1 && nodes_[at].is_call) {
        if (auto after = next_state(state, ops_[nodes_[at].op])) {
          set(nodes_[at].op, true);
          if (remember(*after)) {
            stack_.emplace_back(at, std::move(state));
            state = *std::move(after);
            to_place_ -= nodes_[at].match != -1 ? 1 : 0;
            lift(at);
            at = nodes_[0].next;
            continue;
          }
          set(nodes_[at].op, false);
        }
        at = nodes_[at].next;
        continue;
      }
      // A return whose call is not placed, or the end: undo the last choice and try the next one.
      if (stack_.empty()) return Verdict::kViolation;
      at = stack_.back().first;
      state = std::move(stack_.back().second);
      stack_.pop_back();
      set(nodes_[at].op, false);
      to_place_ += nodes_[at].match != -1 ? 1 : 0;
      unlift(at);
      at = nodes_[at].next;
    }
    return Verdict::kLinearizable;
  }

 private:
  void set(std::size_t op, bool placed) {
    const std::uint64_t bit = std::uint64_t{1} << (op % 64);
    placed_[op / 64] = placed ? placed_[op / 64] | bit : placed_[op / 64] & ~bit;
  }
  bool remember(const std::string& state) {
    std::string key(reinterpret_cast<const char*>(placed_.data()), placed_.size() * 8);
    return seen_.insert(key + state).second;
  }
  void unlink(int n) {
    nodes_[nodes_[n].prev].next = nodes_[n].next;
    if (nodes_[n].next != -1) nodes_[nodes_[n].next].prev = nodes_[n].prev;
  }
  void relink(int n) {
    nodes_[nodes_[n].prev].next = n;
    if (nodes_[n].next != -1) nodes_[nodes_[n].next].prev = n;
  }
  void lift(int call) {
    unlink(call);
    if (nodes_[call].match != -1) unlink(nodes_[call].match);
  }
  void unlift(int call) {
    if (nodes_[call].match != -1) relink(nodes_[call].match);
    relink(call);
  }

  const std::vector<Operation>& ops_;
  std::vector<std::uint64_t> placed_;
  std::vector<Node> nodes_;
  std::vector<std::pair<int, std::string>> stack_;
  std::unordered_set<std::string> seen_;
  std::size_t to_place_{0};
};

/// Writes of unknown outcome whose value nobody saw need not have happened: without them the search stays small, and
/// the verdict is the same (any order with one of them is as good without it).
void drop_unseen(std::vector<Operation>& ops) {
  const auto seen = [&](const std::string& value, const Operation* self) {
    return std::any_of(ops.begin(), ops.end(), [&](const Operation& op) {
      return &op != self && op.result && op.result->find(value) != std::string::npos;
    });
  };
  std::vector<Operation> kept;
  for (const Operation& op : ops) {
    const bool unique = op.kind == Kind::kWrite || op.kind == Kind::kAppend || op.kind == Kind::kSwap;
    const bool unknown = op.returned == Operation::kNever;
    if (unknown && (op.kind == Kind::kRead || (unique && !seen(op.argument, &op)))) continue;
    kept.push_back(op);
  }
  ops = std::move(kept);
}

}  // namespace

std::string describe(const Operation& op) {
  constexpr const char* kNames[] = {"read", "write", "append", "swap", "insert", "remove"};
  return std::to_string(op.invoked) + ".." +
         (op.returned == Operation::kNever ? std::string("?") : std::to_string(op.returned)) + " client " +
         std::to_string(op.client) + " " + kNames[static_cast<int>(op.kind)] + "(" + op.argument +
         ") = " + (op.result ? "\"" + *op.result + "\"" : "?");
}

Verdict check_linearizable(std::vector<Operation> history, std::uint64_t steps_max) {
  drop_unseen(history);
  return Search(history).run(steps_max);
}

}  // namespace outlast::sim
