#include "cli/cli.h"

#include <cstdio>

namespace outlast::cli {

int run(int, char**) {
  std::puts("outlast " OUTLAST_VERSION);
  return 0;
}

}  // namespace outlast::cli
