#include "base/version.h"

namespace outlast {

std::string program_version() {
  return OUTLAST_VERSION;
}

}  // namespace outlast
