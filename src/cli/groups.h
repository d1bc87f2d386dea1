#pragma once
#include "cli/command.h"

namespace outlast::cli {

// One function for each file of commands; groups.cc calls them in the order of the help.
void add_demo(Commands& all);
void add_start(Commands& all);
void add_init(Commands& all);
void add_stop(Commands& all);
void add_restart(Commands& all);
void add_run(Commands& all);
void add_node(Commands& all);
void add_node_drain(Commands& all);
void add_node_decommission(Commands& all);
void add_node_maintenance(Commands& all);
void add_task(Commands& all);
void add_range(Commands& all);
void add_cluster(Commands& all);
void add_meta(Commands& all);
void add_gen(Commands& all);
void add_ingest(Commands& all);
void add_workload(Commands& all);
void add_version(Commands& all);

}  // namespace outlast::cli
