#pragma once
#include <functional>
#include <optional>
#include <set>
#include <string>

#include "base/loop.h"
#include "base/result.h"
#include "cli/node_decommission_text.h"

namespace outlast::cli {

struct DecommissionOptions {
  std::set<std::uint32_t> nodes;
  std::string checks{"enabled"}, by;
  bool dry_run{false}, wait{true}, json{false}, terminal{false};
};

/// What the commands need of the cluster; tests give their own. Each answer may come from another node than the last.
struct DecommissionPorts {
  std::function<Result<proto::DecommissionReply>(const proto::DecommissionRequest&)> decommission;
  std::function<Result<proto::TasksReply>(const proto::TasksRequest&)> tasks;
  std::function<Result<proto::NodeStatusReply>()> nodes;
  std::function<Duration()> now;        ///< Since any instant; never goes back.
  std::function<bool(Duration)> pause;  ///< True: the user gave up.
  std::function<void(const std::string&)> out, err;
};

/// Asks for nodes to be decommissioned and says how far it is until they are. The task is the cluster's: it goes on
/// when this program ends, and running it again attaches to it. Tables and progress go to `err`, the last sentence to
/// `out`. Thread-safety: none.
class DecommissionFollow {
 public:
  DecommissionFollow(DecommissionOptions options, DecommissionPorts ports);
  /// Returns an ExitCode.
  int run();

 private:
  enum class Look : std::uint8_t { kGoesOn, kDone, kFailed };
  int fail(const std::string& sentence);
  int refused(const proto::DecommissionReply& reply);
  int dry_run(const proto::DecommissionReply& reply);
  int nothing_to_do(const proto::DecommissionReply& reply);
  int follow();
  int finish();
  int interrupted();
  Look take(const Result<proto::TasksReply>& reply);
  Look judge(const proto::TaskStatus& task);
  Look forgotten();
  Look follow_next(std::uint32_t node);
  Look taken_back(const std::string& who);
  void show(const proto::TaskStatus& task);
  void show_blind();
  void show_table(const std::string& table, const proto::TaskStatus& task);
  void show_life(const proto::TaskStatus& task);
  void show_states(const proto::TaskStatus& task);
  void say(const std::string& text);
  void end_dots();
  void write_json(const proto::TaskStatus& task);

  const DecommissionOptions options_;
  const DecommissionPorts ports_;
  std::uint64_t task_{0};
  proto::TaskStatus last_;
  std::string table_, states_, progress_, stall_;  ///< Shown last.
  Duration began_{0}, table_at_{0}, table_rest_{0}, life_at_{0}, progress_at_{0};
  std::size_t details_{0};  ///< Lines of progress that are rewritten in place, on a terminal.
  bool dots_{false}, lost_{false}, paused_{false}, blind_told_{false};
  std::optional<Duration> blind_since_;  ///< Nobody says how far the task is since then.
};

/// Asks for nodes to stay after all, waits until they do, and shows them. Returns an ExitCode.
int recommission(const DecommissionOptions& options, const DecommissionPorts& ports);

}  // namespace outlast::cli
