#include "ingest/sink/stdout_sink.h"

#include "ingest/buffer/disk_error.h"
#include "ingest/sink/write_all.h"

namespace outlast::ingest {

void StdoutSink::write(std::shared_ptr<const Chunk> chunk, Callback<void> done) {
  done(write_lines(*chunk, form_, decoder_, [this](std::string_view lines) -> Result<void> {
    const int error = write_all(fd_, lines);
    return error == 0 ? Result<void>() : Result<void>(disk_error("write to", "standard output", error));
  }));
}

}  // namespace outlast::ingest
