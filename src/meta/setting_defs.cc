#include "meta/setting_defs.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <numeric>

#include "base/parse.h"

namespace outlast::meta {
namespace {
using Type = SettingDef::Type;
constexpr double kMs = 1e6, kSecond = 1e9, kHour = 3600e9, kDay = 24 * kHour;
constexpr double kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB, kTiB = 1024 * kGiB;

std::vector<SettingDef> make_defs() {
  std::vector<SettingDef> defs{
      {"graceful_exit_wait_for_frontend_heartbeat",
       Type::kBool,
       "false",
       0,
       1,
       {},
       "a process that ends goes on taking work until the leader frontend knows that it does, for 15 s at most"},
      {"handover.transaction_wait",
       Type::kDuration,
       "10s",
       0,
       10 * kHour,
       {},
       "in a zero-downtime restart: longest wait for open transactions; sessions that are left get 57P01"},
      {"kv.allocator.recovery_store_selector",
       Type::kEnum,
       "good",
       0,
       0,
       {"good", "best"},
       "where replicas of leaving nodes go, among nodes that are equally far away: good is any, best the emptiest"},
      {"kv.replication_factor",
       Type::kInt,
       "3",
       1,
       7,
       {},
       "replicas of each range, as far as there are nodes for them; above 3 an odd number of them"},
      {"kv.snapshot_rebalance.max_rate",
       Type::kBytes,
       "32MiB",
       kMiB,
       kTiB,
       {},
       "bytes a second of all snapshots together that one node sends to new replicas; 1TiB is no limit"},
      {"liveness.drift",
       Type::kFloat,
       "0.05",
       0,
       0.2,
       {},
       "assumed bound on the difference of clock rates between nodes; fast reads stop earlier by twice of it"},
      {"liveness.renew",
       Type::kDuration,
       "1s",
       50 * kMs,
       60 * kSecond,
       {},
       "pause between renewals of a liveness record; at most a quarter of liveness.ttl"},
      {"liveness.ttl",
       Type::kDuration,
       "5s",
       400 * kMs,
       300 * kSecond,
       {},
       "silence after which a process is fenced and its ranges are taken over"},
      {"load.label_keep",
       Type::kDuration,
       "72h",
       60 * kSecond,
       365 * kDay,
       {},
       "how long the label of a load is known after its end; longer than any client may repeat it"},
      {"log.retain.bytes",
       Type::kBytes,
       "256MiB",
       0,
       kTiB,
       {},
       "range log kept per store for replicas that are expected back"},
      {"log.retain.time",
       Type::kDuration,
       "15m",
       0,
       7 * kDay,
       {},
       "how long range log is kept for replicas that are expected back"},
      {"loop_count_wait_fragments_finish",
       Type::kInt,
       "2",
       0,
       8'640,
       {},
       "in a graceful exit of a backend or compute node: so many times 10s for what runs there for others; 0 is off"},
      {"max_graceful_exit_time_second",
       Type::kInt,
       "60",
       1,
       86'400,
       {},
       "seconds after which a frontend's graceful exit cuts what is left, unless `outlast stop` says --timeout"},
      {"min_graceful_exit_time_second",
       Type::kInt,
       "15",
       0,
       3'600,
       {},
       "seconds for which a frontend that exits takes clients while /api/health says 500; more than balancers need"},
      {"recovery_wait",
       Type::kDuration,
       "10s",
       0,
       kHour,
       {},
       "after a restart of the whole cluster: wait for all in-sync replicas before one takes a range over"},
      {"removal.idle",
       Type::kDuration,
       "1m",
       0,
       kDay,
       {},
       "how long a database without writes keeps a dead backup in its in-sync set"},
      {"repl.ack_timeout",
       Type::kDuration,
       "1s",
       50 * kMs,
       60 * kSecond,
       {},
       "silence of a backup with a write waiting, after which it is removed from the in-sync set"},
      {"resolve.timeout",
       Type::kDuration,
       "30s",
       0,
       kHour,
       {},
       "how long a gateway asks for the outcome of a write whose answer got lost; then it is reported as unknown"},
      {"resolve.window",
       Type::kDuration,
       "2m",
       kSecond,
       kDay,
       {},
       "how long outcomes of writes are kept for that; at least twice resolve.timeout and the longest statement"},
      {"repl.stall",
       Type::kDuration,
       "1s",
       50 * kMs,
       60 * kSecond,
       {},
       "a commit that cannot be stored on all in-sync replicas for so long: new writes are refused, reads go on"},
      {"repl.stuck",
       Type::kDuration,
       "3s",
       100 * kMs,
       600 * kSecond,
       {},
       "... and for so long: the lease is given up if the other replicas can go on without this node"},
      {"route.ack_wait",
       Type::kDuration,
       "2s",
       0,
       60 * kSecond,
       {},
       "how long a lease transfer waits for gateways to acknowledge the new route"},
      {"server.shutdown.connection_wait",
       Type::kDuration,
       "0s",
       0,
       10 * kHour,
       {},
       "in a drain: how long clients may close their connections by themselves",
       "server.shutdown.connections.timeout"},
      {"server.shutdown.drain_wait",
       Type::kDuration,
       "0s",
       0,
       10 * kHour,
       {},
       "in a drain: how long the node goes on taking clients while its readiness probe fails; more than the balancer "
       "needs to notice",
       "server.shutdown.initial_wait"},
      {"server.shutdown.lease_transfer_wait",
       Type::kDuration,
       "5s",
       100 * kMs,
       10 * kHour,
       {},
       "in a drain: pause between two progress lines while leases leave; no limit to how long that takes",
       "server.shutdown.lease_transfer_iteration.timeout"},
      {"server.shutdown.query_wait",
       Type::kDuration,
       "10s",
       0,
       10 * kHour,
       {},
       "in a drain: longest wait for open transactions, and once more for other gateways' work here",
       "server.shutdown.transactions.timeout"},
      {"server.time_until_store_dead",
       Type::kDuration,
       "5m",
       kSecond,
       7 * kDay,
       {},
       "silence after which a node is dead and its replicas are rebuilt elsewhere"},
      {"scrub.rate",
       Type::kBytes,
       "1MiB",
       0,
       kGiB,
       {},
       "bytes a second that each node reads of its replicas, again and again, to find damage on its disk; 0 is none"},
      {"sql.defaults.idle_in_transaction_session_timeout",
       Type::kDuration,
       "1m",
       0,
       kDay,
       {},
       "longest idle time of a session that holds a writer lock; 0 is no limit"},
      {"sql.defaults.lock_timeout",
       Type::kDuration,
       "5s",
       0,
       kDay,
       {},
       "longest wait for a database's writer lock; 0 is no limit"},
      {"sql.defaults.statement_timeout",
       Type::kDuration,
       "0s",
       0,
       kDay,
       {},
       "longest run of one statement; 0 is no limit"},
      {"sql.query_memory_limit",
       Type::kBytes,
       "256MiB",
       kMiB,
       kTiB,
       {},
       "rows that one query over several partitions may gather in the memory of its gateway; more is an error (53200)"},
      {"sql.reads",
       Type::kEnum,
       "fast",
       0,
       0,
       {"fast", "confirmed"},
       "fast: the leaseholder answers reads by itself while its lease lasts; confirmed: the other in-sync replicas "
       "confirm each read, so that no clock has to be trusted"},
      {"sql.ttl.interval",
       Type::kDuration,
       "1m",
       100 * kMs,
       kDay,
       {},
       "pause between two looks for partitions whose rows are all older than their table's TTL"},
      {"txn.max_bytes", Type::kBytes, "256MiB", kMiB, 4 * kGiB, {}, "largest transaction, in changed pages"},
      {"txn.orphan_timeout",
       Type::kDuration,
       "2s",
       0,
       60 * kSecond,
       {},
       "a transaction whose gateway is gone is rolled back after this time"},
      {"wal.max_bytes",
       Type::kBytes,
       "64MiB",
       kMiB,
       4 * kGiB,
       {},
       "size of a database's WAL at which it is started anew"},
  };
  std::ranges::sort(defs, {}, &SettingDef::name);
  return defs;
}

/// Levenshtein's distance, for "did you mean".
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t cost = a[i - 1] == b[j - 1] ? 0 : 1;
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, diagonal + cost}));
    }
  }
  return row[b.size()];
}

std::string real_text(double value) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  return {text, end};
}

std::string limit_text(const SettingDef& def, double limit) {
  if (def.type == Type::kFloat) return real_text(limit);
  return format_setting(def, {.whole = static_cast<std::int64_t>(limit), .real = limit});
}

/// Exact, in the largest unit that divides it.
std::string bytes_text(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < std::size(kUnits)) bytes /= 1024, ++unit;
  return std::to_string(bytes) + kUnits[unit];
}

Result<double> parse_real(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size() && std::isfinite(value)) return value;
  return Error(Errc::kInvalidArgument, "\"" + std::string(text) + "\" is not a number such as 0.05");
}

Result<SettingValue> parse_whole(const SettingDef& def, std::string_view text) {
  switch (def.type) {
    case Type::kDuration: {
      ASSIGN_OR_RETURN(const Duration duration, parse_duration(text));
      return SettingValue{.whole = duration.count()};
    }
    case Type::kBytes: {
      ASSIGN_OR_RETURN(const std::uint64_t bytes, parse_bytes(text));
      return SettingValue{
          .whole = static_cast<std::int64_t>(std::min<std::uint64_t>(bytes, std::numeric_limits<std::int64_t>::max()))};
    }
    default: {
      ASSIGN_OR_RETURN(const std::int64_t number, parse_int(text));
      return SettingValue{.whole = number};
    }
  }
}

Result<SettingValue> parse_word(const SettingDef& def, std::string_view text) {
  const auto it = std::ranges::find(def.words, text);
  if (it != def.words.end()) return SettingValue{.whole = it - def.words.begin()};
  std::string allowed;
  for (const auto word : def.words) allowed += (allowed.empty() ? "" : ", ") + std::string(word);
  return Error(Errc::kInvalidArgument, std::string(def.name) + " must be one of " + allowed);
}

}  // namespace

std::string_view to_string(SettingDef::Type type) {
  switch (type) {
    case Type::kDuration:
      return "duration";
    case Type::kBytes:
      return "bytes";
    case Type::kInt:
      return "int";
    case Type::kBool:
      return "bool";
    case Type::kEnum:
      return "enum";
    case Type::kFloat:
      return "float";
  }
  return "int";
}

const std::vector<SettingDef>& setting_defs() {
  static const std::vector<SettingDef> defs = make_defs();
  return defs;
}

Result<const SettingDef*> find_setting(std::string_view name) {
  const auto& defs = setting_defs();
  const auto exact = std::ranges::lower_bound(defs, name, {}, &SettingDef::name);
  if (exact != defs.end() && exact->name == name) return &*exact;
  const auto alias = std::ranges::find(defs, name, &SettingDef::alias);
  if (!name.empty() && alias != defs.end()) return &*alias;
  Error error(Errc::kUndefinedObject, "there is no cluster setting \"" + std::string(name) + "\"");
  const auto nearest = std::ranges::min_element(
      defs, {}, [&](const SettingDef& def) { return distance(def.name, name.substr(0, 128)); });
  error.hint = "Did you mean " + std::string(nearest->name) + "? SHOW CLUSTER SETTINGS lists all.";
  return error;
}

Result<SettingValue> parse_setting(const SettingDef& def, std::string_view text) {
  SettingValue value;
  if (def.type == Type::kBool) {
    ASSIGN_OR_RETURN(const bool on, parse_bool(text));
    return SettingValue{.whole = on ? 1 : 0};
  }
  if (def.type == Type::kEnum) return parse_word(def, text);
  if (def.type == Type::kFloat) {
    ASSIGN_OR_RETURN(value.real, parse_real(text));
  } else {
    ASSIGN_OR_RETURN(value, parse_whole(def, text));
    value.real = static_cast<double>(value.whole);
  }
  if (value.real >= def.min && value.real <= def.max) return value;
  return Error(Errc::kInvalidArgument, std::string(def.name) + " must lie between " + limit_text(def, def.min) +
                                           " and " + limit_text(def, def.max));
}

std::string format_setting(const SettingDef& def, const SettingValue& value) {
  switch (def.type) {
    case Type::kDuration:
      return format_duration(Duration(value.whole));
    case Type::kBytes:
      return bytes_text(static_cast<std::uint64_t>(value.whole));
    case Type::kInt:
      return std::to_string(value.whole);
    case Type::kBool:
      return value.whole != 0 ? "true" : "false";
    case Type::kEnum:
      return std::string(def.words[static_cast<std::size_t>(value.whole)]);
    case Type::kFloat:
      return real_text(value.real);
  }
  return {};
}

}  // namespace outlast::meta
