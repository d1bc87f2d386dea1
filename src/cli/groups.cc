#include "cli/groups.h"

namespace outlast::cli {

Commands all_commands() {
  Commands all;
  add_demo(all);
  add_workload(all);
  add_version(all);
  return all;
}

}  // namespace outlast::cli
