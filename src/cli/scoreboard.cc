#include "cli/scoreboard.h"

#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace outlast::cli {
namespace {
constexpr double kRedrawSeconds = 0.5, kLineSeconds = 5;

std::string leases(int count) {
  return count < 0 ? "?" : std::to_string(count);
}
}  // namespace

std::string render_board(const ScoreboardView& v) {
  std::string text = fmt::format("  {:4.0f} s of {:.0f} s", v.seconds, v.seconds_total);
  if (v.sql)
    text += fmt::format(
        "   {:7.0f} statements/s   p50 {:6.1f} ms   p99 {:6.1f} ms\n"
        "  ok {}   retried {}   unknown {}   failed {}",
        v.statements_per_second, v.p50_ms, v.p99_ms, v.statements.ok, v.statements.retried, v.statements.unknown,
        v.statements.failed);
  text += "\n";
  if (!v.records.empty()) text += "  " + v.records + "\n";
  for (const auto& node : v.nodes)
    text += fmt::format("  node {:2}  {:5}  leases {:>4}  {}\n", node.number, node.ready ? "up" : "DOWN",
                        leases(node.leases), node.sql_addr);
  if (!v.last_event.empty()) text += "  " + v.last_event + "\n";
  return text;
}

std::string render_line(const ScoreboardView& v) {
  std::string all;
  for (const auto& node : v.nodes)
    all += fmt::format("{}{}{}", all.empty() ? "" : "/", leases(node.leases), node.ready ? "" : "(down)");
  std::string text = fmt::format("{:4.0f}s", v.seconds);
  if (v.sql)
    text += fmt::format(" {:6.0f} statements/s p50 {:.1f} ms p99 {:.1f} ms retried {} unknown {} failed {}",
                        v.statements_per_second, v.p50_ms, v.p99_ms, v.statements.retried, v.statements.unknown,
                        v.statements.failed);
  text += " leases " + all;
  if (!v.records.empty()) text += "; " + v.records;
  return text + "\n";
}

Scoreboard::Scoreboard() : terminal_(::isatty(STDOUT_FILENO) == 1) {}

bool Scoreboard::wants_update(double seconds) const {
  return seconds - last_shown_ >= (terminal_ ? kRedrawSeconds : kLineSeconds);
}

void Scoreboard::show(const ScoreboardView& view) {
  last_shown_ = view.seconds;
  if (!terminal_) {
    std::fputs(render_line(view).c_str(), stdout);
  } else {
    const std::string board = render_board(view);
    if (lines_shown_ > 0) fmt::print("\x1b[{}F\x1b[J", lines_shown_);
    std::fputs(board.c_str(), stdout);
    lines_shown_ = static_cast<int>(std::count(board.begin(), board.end(), '\n'));
  }
  std::fflush(stdout);
}

void Scoreboard::say(const std::string& line) {
  if (terminal_ && lines_shown_ > 0) fmt::print("\x1b[{}F\x1b[J", lines_shown_);
  lines_shown_ = 0;
  std::fputs((line + "\n").c_str(), stdout);
  std::fflush(stdout);
}

}  // namespace outlast::cli
