// What a decommission that is followed prints while it goes on.
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/serialize.hpp>

#include "cli/node_decommission_follow.h"
#include "server/json_views.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr Duration kTableRest = 1s, kTableRestMax = 10s;  ///< Between tables in which only counts changed.
constexpr Duration kLifeEvery = 1s;                       ///< A dot, or the progress in place on a terminal.
constexpr Duration kBlindAfter = 3s;
constexpr Duration kProgressEvery = 10s;  ///< A line of progress between tables, for logs.

/// A reason whose figures move is not a new one.
std::string without_digits(std::string text) {
  std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });
  return text;
}
}  // namespace

void DecommissionFollow::show(const proto::TaskStatus& task) {
  if (!task.has_progress()) return show_blind();
  blind_since_.reset();
  if (task.stage() == "marking" && task.stall().reason().empty()) return;  // nothing is counted yet
  if (options_.json) return write_json(task);
  show_states(task);
  const std::string table = decommission_table(task, options_.nodes).table();
  std::string states;  // what is worth a table at once
  for (const auto& node : task.nodes())
    states += fmt::format("{} {} {} {},", node.node(), node.is_live(), node.membership(), node.is_draining());
  const Duration now = ports_.now();
  if (states != states_) table_rest_ = kTableRest;
  if (states != states_ || (table != table_ && now - table_at_ >= table_rest_)) {
    if (states == states_) table_rest_ = std::min(2 * table_rest_, kTableRestMax);
    states_ = states;
    return show_table(table, task);
  }
  if (now - life_at_ >= kLifeEvery) show_life(task);
}

/// A task that was just stored, or whose leader died, is taken up within moments.
void DecommissionFollow::show_blind() {
  const Duration now = ports_.now();
  if (!blind_since_) blind_since_ = now, blind_told_ = false;
  if (blind_told_ || now - *blind_since_ < kBlindAfter) return;
  say(fmt::format("no leader frontend says how far task {} is; one takes it up by itself\n", task_));
  blind_told_ = true;
}

void DecommissionFollow::show_table(const std::string& table, const proto::TaskStatus& task) {
  say(table);
  table_ = table;
  table_at_ = life_at_ = progress_at_ = ports_.now();
  progress_ = decommission_progress(task);
  ports_.err(progress_);
  if (options_.terminal) details_ = static_cast<std::size_t>(std::count(progress_.begin(), progress_.end(), '\n'));
}

void DecommissionFollow::show_life(const proto::TaskStatus& task) {
  const std::string progress = decommission_progress(task);
  life_at_ = ports_.now();
  const bool line = life_at_ - progress_at_ >= kProgressEvery && progress != progress_;
  if (!options_.terminal && !line) {
    ports_.err(".");
    dots_ = true;
    return;
  }
  say(progress);
  progress_ = progress, progress_at_ = life_at_;
  if (options_.terminal) details_ = static_cast<std::size_t>(std::count(progress.begin(), progress.end(), '\n'));
}

/// What is said once when it begins.
void DecommissionFollow::show_states(const proto::TaskStatus& task) {
  const bool paused = task.state() == "paused";
  if (paused && !paused_) say(fmt::format("task {} is paused: `outlast task resume {}` lets it go on\n", task_, task_));
  paused_ = paused;
  const std::string stall = decommission_stall(task);
  const std::string kind = task.stall().reason() + without_digits(task.stall().why());
  if (!stall.empty() && kind != stall_) say(stall);
  if (stall.empty() && !stall_.empty()) say("the decommission goes on\n");
  stall_ = stall.empty() ? "" : kind;
}

void DecommissionFollow::say(const std::string& text) {
  end_dots();
  ports_.err(text);
}

void DecommissionFollow::end_dots() {
  if (dots_) ports_.err("\n");
  if (details_ > 0) ports_.err(fmt::format("\x1b[{}F\x1b[J", details_));
  dots_ = false, details_ = 0;
}

void DecommissionFollow::write_json(const proto::TaskStatus& task) {
  const std::string line = boost::json::serialize(server::to_json(task)) + "\n";
  if (line == table_ || (!table_.empty() && ports_.now() - table_at_ < kTableRest)) return;
  table_ = line, table_at_ = ports_.now();
  ports_.out(line);
}

}  // namespace outlast::cli
