#include "cli/groups.h"

namespace outlast::cli {

Commands all_commands() {
  Commands all;
  add_demo(all);
  add_start(all);
  add_init(all);
  add_stop(all);
  add_restart(all);
  add_run(all);
  add_node(all);
  add_node_drain(all);
  add_node_decommission(all);
  add_node_maintenance(all);
  add_task(all);
  add_range(all);
  add_cluster(all);
  add_meta(all);
  add_gen(all);
  add_ingest(all);
  add_workload(all);
  add_version(all);
  return all;
}

}  // namespace outlast::cli
