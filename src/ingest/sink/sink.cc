#include "ingest/sink/sink.h"

namespace outlast::ingest {

bool is_final(const Error& error) {
  switch (error.code) {
    case Errc::kCorrupt:
    case Errc::kTooLarge:
    case Errc::kInvalidText:
    case Errc::kInvalidArgument:
      return true;
    default:
      return false;  // a table that is missing may come back
  }
}

}  // namespace outlast::ingest
