#include "cli/demo/restart_report.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <cmath>

#include "server/restart_status.h"

namespace outlast::cli {
namespace {
namespace json = boost::json;
using server::array_of;
using server::number_of;
using server::object_of;
using server::text_of;

/// How long each finished restart took, in order of length.
std::vector<std::uint64_t> durations(const DemoReport& report) {
  std::vector<std::uint64_t> ms;
  for (const json::object& receipt : report.restart_receipts)
    ms.push_back(number_of(object_of(receipt, "duration_ms"), "total"));
  std::ranges::sort(ms);
  return ms;
}

std::uint64_t longest_pause_in_receipts(const DemoReport& report) {
  std::uint64_t most = 0;
  for (const json::object& receipt : report.restart_receipts)
    most = std::max(most, number_of(object_of(object_of(receipt, "sessions"), "pause_ms"), "max"));
  return most;
}

/// "7 of node 2": nothing else names a receipt among those of several nodes.
std::string incomplete(const DemoReport& report) {
  std::string text;
  for (const json::object& receipt : report.restart_receipts)
    if (text_of(receipt, "outcome") != "completed")
      text += fmt::format("{}restart {} of node {} was {}: {}", text.empty() ? "" : "; ", number_of(receipt, "id"),
                          number_of(receipt, "node"), text_of(receipt, "outcome"), text_of(receipt, "why"));
  return text;
}
}  // namespace

void restart_failures(const DemoReport& report, std::vector<std::string>& why) {
  if (report.restart_receipts.size() < report.receipts_wanted)
    why.push_back(
        fmt::format("{} restarts were done, {} are wanted", report.restart_receipts.size(), report.receipts_wanted));
  if (const std::string text = incomplete(report); !text.empty()) why.push_back(text);
  std::uint64_t not_moved = 0, lost = 0, drops = 0, order_breaks = 0;
  for (const json::object& receipt : report.restart_receipts) {
    const json::object sessions = object_of(receipt, "sessions");
    not_moved += array_of(sessions, "not_moved").size();
    lost += number_of(sessions, "lost");
    const json::object inputs = object_of(receipt, "inputs");
    drops += number_of(inputs, "kernel_drops");
    order_breaks += number_of(inputs, "order_breaks");
  }
  const auto none = [&why](std::uint64_t count, const char* what) {
    if (count != 0) why.push_back(fmt::format("{} {}", count, what));
  };
  none(report.connections.lost, "connections were lost");
  none(report.connections.refused, "connections were refused");
  none(report.connections.closed_idle, "connections were told to go");
  none(not_moved, "sessions did not move, by the receipts");
  none(lost, "sessions were lost, by the receipts");
  none(drops, "datagrams were dropped by the kernel, by the receipts");
  none(order_breaks, "inputs broke the order of their records, by the receipts");
}

void add_restart_fields(const DemoReport& report, json::object& all) {
  const auto ms = durations(report);
  all["longest_pause_ms"] = std::round(report.max_pause_ms * 1000) / 1000;
  all["longest_pause_in_receipts_ms"] = longest_pause_in_receipts(report);
  all["restart_ms"] = ms.empty() ? json::value() : json::value{{"median", ms[ms.size() / 2]}, {"max", ms.back()}};
  json::array receipts;
  for (const json::object& receipt : report.restart_receipts) receipts.emplace_back(receipt);
  all["receipts"] = std::move(receipts);
}

std::string restart_summary(const DemoReport& report) {
  const ConnectionCounts& c = report.connections;
  const auto ms = durations(report);
  std::uint64_t moved = 0;
  for (const json::object& receipt : report.restart_receipts)
    moved += number_of(object_of(receipt, "sessions"), "moved");
  std::string text = fmt::format("restarts    {} of {} wanted", ms.size(), report.receipts_wanted);
  if (!ms.empty()) text += fmt::format(", median {} ms, longest {} ms", ms[ms.size() / 2], ms.back());
  if (report.scenario == "ingest") return text + "\n";
  return text + fmt::format(
                    "\nsessions    {} moved in all; longest pause {} ms by the receipts\n"
                    "connections {} opened, {} told to go, {} refused, {} lost\n",
                    moved, longest_pause_in_receipts(report), c.opened, c.closed_idle, c.refused, c.lost);
}

}  // namespace outlast::cli
