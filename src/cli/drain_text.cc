#include "cli/drain_text.h"

#include <spdlog/fmt/fmt.h>

#include <chrono>

#include "base/parse.h"

namespace outlast::cli {
namespace {
constexpr int kBlockingShown = 5;

std::string counted(std::uint64_t count, const char* one, const char* many) {
  return fmt::format("{} {}", count, count == 1 ? one : many);
}

std::string seconds(std::uint64_t ms) {
  return fmt::format("{:.1f} s", static_cast<double>(ms) / 1000);
}

std::string duration(std::uint64_t ms) {
  return format_duration(std::chrono::milliseconds(ms));
}

std::string eta(const proto::DrainStatus& status) {
  const std::string speed = fmt::format("{:.1f} a second", status.per_second());
  return status.eta_ms() < 0 ? speed + ", time left not known"
                             : speed + ", about " + seconds(static_cast<std::uint64_t>(status.eta_ms())) + " left";
}

std::string targets(const proto::DrainStatus& status) {
  std::string text;
  for (const auto& target : status.moved_to())
    text += fmt::format("{}{} to node {}", text.empty() ? "" : ", ", target.leases(), target.node());
  return text;
}

std::string blocking(const proto::DrainStatus& status) {
  std::string text;
  for (int i = 0; i < std::min(status.blocking_size(), kBlockingShown); ++i) {
    const auto& one = status.blocking(i);
    const std::string age = one.age_ms() == 0 ? "" : fmt::format(" ({})", seconds(one.age_ms()));
    text += fmt::format("  {}{}: {}\n", one.name(), age, one.why());
  }
  if (status.blocking_size() > kBlockingShown)
    text += fmt::format("  … and {} more: --format=json names them\n", status.blocking_size() - kBlockingShown);
  return text;
}

std::string warnings(const proto::DrainStatus& status) {
  std::string text;
  for (const std::string& warning : status.warnings()) text += "warning: " + warning + "\n";
  return text;
}

std::string phases(const proto::DrainStatus& status) {
  std::string text;
  for (const auto& phase : status.phases())
    if (phase.lasted_ms() > 0 && phase.phase() != "drained")
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", phase.phase(), seconds(phase.lasted_ms()));
  return text.empty() ? "" : " (" + text + ")";
}

}  // namespace

std::string drain_line(const proto::DrainStatus& status) {
  const std::string end = status.end().empty() ? "" : " (" + status.end() + ")";
  return fmt::format("node is draining... remaining: {}{}", status.remaining().total(), end);
}

std::string drain_remaining(const proto::DrainStatus::Remaining& left) {
  std::string text;
  const auto add = [&text](std::uint64_t count, const char* one, const char* many) {
    if (count > 0) text += (text.empty() ? "" : ", ") + counted(count, one, many);
  };
  add(left.connections(), "connection", "connections");
  add(left.transactions(), "transaction", "transactions");
  add(left.foreign_transactions(), "transaction of another gateway", "transactions of other gateways");
  add(left.foreign_statements(), "statement for another gateway", "statements for other gateways");
  add(left.leases(), "lease", "leases");
  if (left.unmovable_leases() > 0) text += fmt::format(" ({} that nobody else could take)", left.unmovable_leases());
  add(left.insync(), "in-sync set", "in-sync sets");
  add(left.inputs(), "open input", "open inputs");
  if (left.buffer_bytes() > 0) text += (text.empty() ? "" : ", ") + format_bytes(left.buffer_bytes()) + " in buffers";
  if (left.office()) text += std::string(text.empty() ? "" : ", ") + "the leader frontend's office";
  return text.empty() ? "nothing" : text;
}

std::string drain_details(const proto::DrainStatus& status) {
  const std::uint64_t here = status.phases().empty() ? 0 : status.phases().rbegin()->lasted_ms();
  std::string text = fmt::format("  {} for {}, {} in all; left: {}\n", status.phase(), seconds(here),
                                 seconds(status.elapsed_ms()), drain_remaining(status.remaining()));
  text += "  " + eta(status);
  if (!status.blocker().empty() && status.blocker() != "nothing" && status.blocker() != "none")
    text += "; waits for: " + status.blocker();
  if (status.deadline_ms() > 0) text += "; deadline in " + seconds(status.deadline_ms());
  if (!status.metadata()) text += "; the metadata store does not answer";
  return text + "\n" + blocking(status);
}

std::string drain_receipt(const proto::DrainStatus& s) {
  std::string text = fmt::format("drained     node {} in {}{}\n", s.node(), seconds(s.elapsed_ms()), phases(s));
  const std::string to = targets(s);
  text += fmt::format("leases      {} moved{}{}, {} moves failed\n", s.leases_moved(), to.empty() ? "" : ": ", to,
                      s.lease_moves_failed());
  text += fmt::format("sessions    {} told to go at a safe point, {} cut inside a transaction, {} refused\n",
                      s.sessions_shed(), s.sessions_cut(), s.sessions_refused());
  const auto& l = s.ledger();
  text += fmt::format("statements  {} done, {} failed, {} cancelled, {} unknown, {} refused\n", l.done(), l.failed(),
                      l.cancelled(), l.unknown(), l.refused());
  if (s.remaining().total() > 0) text += "left        " + drain_remaining(s.remaining()) + "\n" + blocking(s);
  return text;
}

bool needs_force(const proto::DrainStatus& status) {
  return status.remaining().unmovable_leases() > 0 && !status.force();
}

std::string drain_plan(const proto::DrainStatus& s) {
  std::string text =
      fmt::format("dry run: nothing was changed\nnode {} has {}\n", s.node(), drain_remaining(s.remaining()));
  if (const std::string to = targets(s); !to.empty()) text += "leases would go: " + to + "\n";
  if (s.eta_ms() >= 0)
    text += fmt::format("it would take about {}", seconds(static_cast<std::uint64_t>(s.eta_ms())));
  else
    text += "nobody can say how long it would take";
  text += fmt::format("; server.shutdown.* allows {}, lease transfers aside\n", duration(s.settings_sum_ms()));
  if (s.blocking_size() > 0) text += "in its way:\n" + blocking(s);
  text += warnings(s);
  if (needs_force(s))
    text += fmt::format("it would not end: {}; add a replica of each, or say --force\n",
                        counted(s.remaining().unmovable_leases(), "lease has no other in-sync replica",
                                "leases have no other in-sync replica"));
  return text;
}

}  // namespace outlast::cli
