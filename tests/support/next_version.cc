// The next version, for tests that replace one program by another: linked in front of the rooms.
#include "base/version.h"

namespace outlast {

std::string program_version() {
  return OUTLAST_VERSION ".next";
}

}  // namespace outlast
