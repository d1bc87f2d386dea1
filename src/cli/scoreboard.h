#pragma once
#include <string>
#include <vector>

#include "cli/workload_outcome.h"

namespace outlast::cli {

/// One look at a running demo.
struct ScoreboardView {
  double seconds{0}, seconds_total{0};
  double statements_per_second{0}, p50_ms{0}, p99_ms{0};
  StatementCounts statements;
  bool sql{true};       ///< There is a load of statements.
  std::string records;  ///< What senders of records do; empty: there are none.
  struct Node {
    int number{1};
    bool ready{true};
    int leases{-1};  ///< -1: not known.
    std::string sql_addr;
  };
  std::vector<Node> nodes;
  std::string last_event;
};

/// Several lines for a terminal. Pure.
std::string render_board(const ScoreboardView& view);
/// One line for a log. Pure.
std::string render_line(const ScoreboardView& view);

/// Shows views: redrawn in place on a terminal, a line every five seconds elsewhere. Thread-safety: none.
class Scoreboard {
 public:
  Scoreboard();
  bool wants_update(double seconds) const;
  void show(const ScoreboardView& view);
  /// A line that stays; the board goes on below it.
  void say(const std::string& line);

 private:
  bool terminal_;
  int lines_shown_{0};
  double last_shown_{-1e9};
};

}  // namespace outlast::cli
