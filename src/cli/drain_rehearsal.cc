#include "cli/drain_rehearsal.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <cstdio>
#include <limits>

#include "base/parse.h"
#include "cli/command.h"
#include "cli/table.h"
#include "server/json_views.h"

namespace outlast::cli {
using namespace std::chrono_literals;
using Action = proto::DrainRequest;

namespace {
using lifecycle::Felt;
using lifecycle::StatementCounts;

constexpr std::string_view kBucket = "outlast_sql_statement_seconds_bucket{le=\"";
constexpr std::string_view kErrors = "outlast_sql_errors_total{";
constexpr Duration kLook = 200ms, kPatience = 10s;

double number(std::string_view text) {
  double value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string line(const char* label, const Felt& felt) {
  char text[160];
  std::snprintf(text, sizeof text, "%-11s %.0f statements/s, p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms, %.0f errors\n",
                label, felt.per_second, felt.p50_ms, felt.p99_ms, felt.p999_ms, felt.errors);
  return text;
}

boost::json::object to_json(const Felt& felt) {
  return {{"statements", felt.statements}, {"per_second", felt.per_second}, {"errors", felt.errors},
          {"p50_ms", felt.p50_ms},         {"p99_ms", felt.p99_ms},         {"p999_ms", felt.p999_ms}};
}

std::string leases_line(const proto::DrainStatus& status) {
  std::string text = "leases      " + std::to_string(status.leases_moved()) + " left";
  if (status.leases_left_ms() > 0)
    text += " within " + format_duration(std::chrono::milliseconds(status.leases_left_ms()));
  for (int i = 0; i < status.moved_to_size(); ++i)
    text += (i == 0 ? ": " : ", ") + std::to_string(status.moved_to(i).leases()) + " to node " +
            std::to_string(status.moved_to(i).node());
  return text + "; " + std::to_string(status.lease_moves_failed()) + " moves failed\n";
}
}  // namespace

Result<StatementCounts> parse_statement_counts(std::string_view metrics) {
  StatementCounts out;
  while (!metrics.empty()) {
    const std::string_view text = metrics.substr(0, metrics.find('\n'));
    metrics.remove_prefix(std::min(metrics.size(), text.size() + 1));
    const double value = number(text.substr(std::min(text.size(), text.rfind(' ') + 1)));
    if (text.starts_with(kErrors)) out.errors += value;
    if (!text.starts_with(kBucket)) continue;
    const std::string_view edge = text.substr(kBucket.size());
    out.up_to.emplace_back(edge.starts_with("+Inf") ? std::numeric_limits<double>::infinity() : number(edge), value);
  }
  std::ranges::sort(out.up_to);
  if (out.up_to.empty())
    return Error(Errc::kProtocolViolation, "a gateway's /metrics lacks the times of its statements: is it older?");
  return out;
}

int rehearse(const RehearsalOptions& options, const RehearsalPorts& ports) {
  const auto interrupted = [&] {
    ports.err("interrupted; the node takes its leases back by itself\n");
    return static_cast<int>(kInterrupted);
  };
  const auto before = ports.statements();
  if (!before.ok()) return fail_with(before.error());
  ports.err("rehearsal of a drain of " + options.name + ": " + format_duration(options.time) + " as it is, then " +
            format_duration(options.time) + " without its leases\n");
  if (ports.pause(options.time)) return interrupted();
  const auto between = ports.statements();
  if (!between.ok()) return fail_with(between.error());
  proto::DrainRequest request;
  request.set_action(Action::REHEARSE);
  request.set_rehearse_ms(static_cast<std::uint64_t>(options.time / 1ms));
  request.set_by(options.by);
  const auto begun = ports.ask(request);
  if (!begun.ok()) return fail_with(begun.error());
  if (!begun->code().empty())
    return fail_with(Error(errc_from_name(begun->code()), options.name + ": " + begun->message()));
  proto::DrainStatus status = begun->status();
  request.set_action(Action::STATUS);
  for (Duration waited{}; waited < options.time + kPatience; waited += kLook) {
    if (ports.pause(kLook)) return interrupted();
    const auto now = ports.ask(request);
    if (!now.ok() || !now->code().empty()) continue;
    if (now->status().phase() == "serving") break;
    status = now->status();
  }
  const auto after = ports.statements();
  if (!after.ok()) return fail_with(after.error());
  const Felt usual = felt_between(*before, *between, options.time), then = felt_between(*between, *after, options.time);
  if (options.json) {
    boost::json::object out{
        {"before", to_json(usual)}, {"during", to_json(then)}, {"receipt", server::to_json(status)}};
    ports.out(boost::json::serialize(out) + "\n");
  } else {
    ports.out(leases_line(status) + line("before", usual) + line("during", then));
  }
  return then.errors > usual.errors ? kVerdictNegative : kDone;
}

}  // namespace outlast::cli
