#include "cli/demo/roles/tasks.h"

#include <spdlog/fmt/chrono.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/parse.h"
#include "cli/pg_connection.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kConnectTimeout = 3s, kAnswerTimeout = 10s;
constexpr auto kEvery = 250ms;

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}
double seconds(Duration d) {
  return std::chrono::duration<double>(d).count();
}

std::string timestamp(double at) {
  const auto whole = std::chrono::system_clock::time_point(std::chrono::seconds(static_cast<std::int64_t>(at)));
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::gmtime(whole));
}

std::optional<PgConnection> connect(const ExpiryClient& client) {
  for (const std::string& url : client.urls)
    if (auto made = PgConnection::connect(url, client.database, kConnectTimeout); made.ok())
      return std::move(made).value();
  return std::nullopt;
}

/// `second` counts from 1970, so that no calendar is needed here.
std::optional<ExpirySample> look(PgConnection& connection) {
  const PgReply reply = connection.run("SELECT count(*), min(second) FROM recent", kAnswerTimeout);
  if (!reply.ok || reply.rows.size() != 1 || reply.rows[0].size() != 2) return std::nullopt;
  const auto rows = parse_int(reply.rows[0][0].value_or(""));
  if (!rows.ok()) return std::nullopt;
  ExpirySample sample{.at = now_seconds(), .rows = static_cast<std::uint64_t>(*rows)};
  if (const auto oldest = parse_int(reply.rows[0][1].value_or("")); oldest.ok())
    sample.oldest = static_cast<double>(*oldest);
  return sample;
}

}  // namespace

TaskCounts count_tasks(std::uint64_t inserted, const std::vector<ExpirySample>& samples, const RolesPlan& plan,
                       std::optional<double> leader_left) {
  TaskCounts counts{.inserted = inserted};
  // A partition goes as a whole, when its last instant is old enough.
  const double life = seconds(plan.ttl + plan.interval);
  for (const ExpirySample& sample : samples) {
    counts.delay_after_seconds = sample.oldest ? std::max(0.0, sample.at - life - *sample.oldest) : 0;
    counts.longest_delay_seconds = std::max(counts.longest_delay_seconds, counts.delay_after_seconds);
  }
  if (samples.empty()) return counts;
  const ExpirySample& last = samples.back();
  counts.expired = inserted - std::min(inserted, last.rows);
  counts.after_leader_left = leader_left && (!last.oldest || *last.oldest > *leader_left);
  return counts;
}

std::optional<ExpirySample> look_at_expiry(const ExpiryClient& client) {
  auto connection = connect(client);
  return connection ? look(*connection) : std::nullopt;
}

ExpiryRun watch_expiry(const ExpiryClient& client, const std::atomic<bool>& stopping) {
  ExpiryRun run;
  std::optional<PgConnection> connection;
  for (; !stopping; std::this_thread::sleep_for(kEvery)) {
    if (connection && connection->farewell()) connection.reset();
    if (!connection) connection = connect(client);
    if (!connection) continue;
    const double now = now_seconds();
    const PgReply reply = connection->run(fmt::format("INSERT INTO recent (at, second) VALUES ('{}', {})",
                                                      timestamp(now), static_cast<std::int64_t>(now)),
                                          kAnswerTimeout);
    run.inserted += reply.ok;
    if (const auto sample = reply.broken ? std::nullopt : look(*connection)) run.samples.push_back(*sample);
    if (connection->broken()) connection.reset();
  }
  return run;
}

}  // namespace outlast::cli
