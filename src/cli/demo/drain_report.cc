#include "cli/demo/drain_report.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>

#include "server/json_views.h"

namespace outlast::cli {

void drain_failures(const DemoReport& report, std::vector<std::string>& why) {
  if (report.receipts.empty() || report.receipts.size() != report.receipts_wanted)
    why.push_back(fmt::format("{} of {} drains were done", report.receipts.size(), report.receipts_wanted));
  std::uint64_t incomplete = 0, cut = 0;
  for (const proto::DrainStatus& receipt : report.receipts) {
    incomplete += receipt.end() != "complete";
    cut += receipt.sessions_cut();
  }
  const auto none = [&why](std::uint64_t count, const char* what) {
    if (count != 0) why.push_back(fmt::format("{} {}", count, what));
  };
  none(incomplete, "drains did not end as complete");
  none(cut, "sessions were cut inside a transaction");
  none(report.connections.lost, "connections were lost");
  none(report.connections.refused, "connections were refused");
}

boost::json::array drain_receipts(const DemoReport& report) {
  boost::json::array list;
  for (const proto::DrainStatus& receipt : report.receipts) list.emplace_back(server::to_json(receipt));
  return list;
}

std::string drain_summary(const DemoReport& report) {
  const ConnectionCounts& c = report.connections;
  const auto complete = std::ranges::count_if(report.receipts, [](const auto& r) { return r.end() == "complete"; });
  return fmt::format(
      "connections {} opened, {} ended by their clients, {} told to go, {} refused, {} lost ({} in a transaction)\n"
      "receipts    {} of {} complete\n",
      c.opened, c.retired, c.closed_idle, c.refused, c.lost, c.lost_in_transaction, complete, report.receipts_wanted);
}

}  // namespace outlast::cli
