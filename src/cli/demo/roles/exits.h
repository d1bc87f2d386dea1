#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "cli/demo/roles/plan.h"

namespace outlast::cli {

enum class NodeRole : std::uint8_t { kFrontend, kBackend, kCompute };
const char* to_string(NodeRole role);

/// What a node says of the fragments that ran on it while it left. Those that ran when it began, and those that it took
/// before everybody knew.
struct ExitWork {
  std::uint64_t finished{0}, cut{0}, refused{0};
};

/// One node's turn: told to leave, gone, started, and back at work. Times count since the load began.
struct ExitTurn {
  int node{0};  ///< From 0.
  NodeRole role{NodeRole::kBackend};
  bool leader{false};                      ///< It was the leader frontend.
  bool with_long{false};                   ///< A long query ran when it was told.
  std::optional<std::uint64_t> running{};  ///< NumRunningQueries of the node then.
  std::size_t queries{0};                  ///< Medium and long ones that ran then, on whatever nodes.
  Duration window{0};                      ///< What running work is given.
  Duration asked{0};
  std::optional<Duration> shutdown, gone, disconnected, ready, back;  ///< SHUTDOWN seen, its process ended, …
  std::optional<Duration> busy_until;  ///< The last of the queries that ran when it was told had ended.
  std::optional<Duration> unhealthy;   ///< Of a frontend: /api/health answered 500.
  std::vector<std::string> codes;      ///< StatusCode as others showed it, each change once.
  std::optional<int> exit_code;        ///< Of `outlast stop -g`.
  bool killed{false};
  std::optional<ExitWork> work;

  bool seen_leaving() const;  ///< SHUTDOWN, and DISCONNECTED after it.
};

/// How SHOW FRONTENDS, BACKENDS or COMPUTE NODES shows a node.
struct NodeShown {
  std::string code;  ///< StatusCode
  std::optional<std::uint64_t> running;
};

/// Lets every node leave by the program's own command and return, one after another: the compute node, the backends,
/// the frontends, of these the leader last. Never blocks for long; what hangs ends it with a sentence.
/// Pure but for its ports. Thread-safety: none.
class RolesExits {
 public:
  struct Ports {
    std::function<bool(const ExitTurn& next)> prepared;  ///< The queries run that are to run when it is told.
    std::function<std::size_t()> queries;                ///< How many run.
    std::function<Result<void>(const ExitTurn&)> stop;   ///< Begins `outlast stop -g`.
    std::function<std::optional<int>()> stopped;         ///< Its exit code, once it ended.
    std::function<std::optional<NodeShown>(const ExitTurn&)> shown;  ///< Empty: nobody answered.
    std::function<bool(int node)> unhealthy;                         ///< /api/health answers 500.
    std::function<bool(int node)> running;
    std::function<Result<void>(int node)> start;
    std::function<bool(int node)> ready;
    std::function<bool()> healed;  ///< Every replica in sync.
    std::function<std::optional<int>()> leader;
    std::function<void(ExitTurn&)> take_receipt;  ///< Fills `killed` and `work`.
    std::function<void(const std::string&)> say;
  };
  RolesExits(std::vector<NodeRole> roles, const RolesPlan& plan, Ports ports);
  void step(Duration now);
  /// Nothing more will happen: every turn is over, or trouble() says why not.
  bool finished() const { return phase_ == Phase::kOver; }
  const std::string& trouble() const { return trouble_; }
  const std::vector<ExitTurn>& turns() const { return turns_; }
  std::size_t wanted() const { return roles_.size(); }
  /// The turn that is prepared or under way; null between the last one's end and the end.
  const ExitTurn* current() const;

 private:
  enum class Phase : std::uint8_t { kResting, kPreparing, kLeaving, kStarting, kReturning, kOver };
  void enter(Phase next, Duration now);
  void fail(const std::string& why);
  std::optional<int> choose() const;
  void prepare(Duration now);
  void begin(Duration now);
  void look(ExitTurn& turn, Duration now);
  void end_leaving(ExitTurn& turn, Duration now);
  Duration limit() const;

  const std::vector<NodeRole> roles_;
  const RolesPlan plan_;
  const Ports ports_;
  Phase phase_{Phase::kResting};
  Duration since_{0};
  std::vector<ExitTurn> turns_;
  std::string trouble_;
};

}  // namespace outlast::cli
