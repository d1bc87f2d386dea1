// Client: what its operations say in SQL.
#include "tests/sim/client.h"

namespace outlast::sim {
using Kind = Operation::Kind;

namespace {
/// Comes back to pages that were spilled meanwhile.
constexpr const char* kBulk =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120) "
    "INSERT OR REPLACE INTO w(k, v) SELECT i * 37 % 121, printf('%0600d', i * 7 + ?1) FROM n";
}  // namespace

std::vector<Client::Step> Client::steps() const {
  if (!set_up_.empty()) return {{set_up_.front(), {}}};
  const std::string select = "SELECT v FROM " + std::string(1, object_[0]) + " WHERE k = ?1";
  const std::string set = "INSERT INTO r(k, v) VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = excluded.v";
  switch (op_->kind) {
    case Kind::kRead:
      return {{select, {}}};
    case Kind::kWrite:
      return {{set, {op_->argument}}};
    case Kind::kAppend:
      return {
          {"INSERT INTO l(k, v) VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = v || excluded.v", {op_->argument}}};
    case Kind::kSwap:
      if (bulk) return {{select, {}, true}, {kBulk, {}}, {set, {op_->argument}}, {"", {}, false, true}};
      return {{select, {}, true}, {set, {op_->argument}}, {"", {}, false, true}};
    case Kind::kInsert:
      return {{"INSERT INTO s(k, v) VALUES (?1, '1')", {}}};
    case Kind::kRemove:
      return {{"DELETE FROM s WHERE k = ?1", {}}};
  }
  return {};
}

/// Unique in the whole history: a leaseholder refuses an id that it has seen.
std::uint64_t Client::request_id() const {
  return (static_cast<std::uint64_t>(number_ + 1) << 40U) | attempt_;
}

proto::ExecRequest Client::request(const Step& step) const {
  const std::uint64_t id = request_id();
  proto::ExecRequest out;
  out.set_range(range_.value);
  out.set_epoch(route_.epoch.value);
  out.set_timeout_ms(3000);
  out.set_lock_timeout_ms(2000);
  out.set_idle_timeout_ms(5000);
  if (step.commit) {
    out.mutable_commit()->set_request_id(id);
    return out;
  }
  out.mutable_run()->set_sql(step.sql);
  out.mutable_run()->set_begin(step.begin);
  out.mutable_run()->set_request_id(id);
  if (!set_up_.empty()) return out;
  auto& params = *out.mutable_run()->add_params();
  params.add_values()->set_integer(key_);
  for (const std::string& param : step.params) params.add_values()->set_text(param);
  return out;
}

}  // namespace outlast::sim
