#include "server/range_status.h"

namespace outlast::server {

proto::RangeStatus range_status(const placement::RangeConfig& config, const std::string& database) {
  proto::RangeStatus out;
  out.set_range(config.range.value);
  out.set_database(database);
  out.set_epoch(config.epoch.value);
  out.set_cfg(config.cfg.value);
  if (config.leaseholder) {
    out.set_leaseholder(config.leaseholder->node.value);
    out.set_leaseholder_incarnation(config.leaseholder->incarnation.value);
  }
  for (const auto& replica : config.insync) out.add_insync(replica.node.value);
  for (const auto& replica : config.learners) out.add_learners(replica.node.value);
  for (const auto& replica : config.removed) out.add_removed(replica.node.value);
  out.set_rf(static_cast<std::uint32_t>(config.rf));
  out.set_min_insync(static_cast<std::uint32_t>(config.min_insync));
  out.set_clean(config.clean);
  return out;
}

}  // namespace outlast::server
