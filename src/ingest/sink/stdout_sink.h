#pragma once
#include "ingest/sink/sink.h"
#include "ingest/sink/text_writer.h"

namespace outlast::ingest {

/// Lines to a descriptor that stays the caller's: 1, or a test's. What was written before an error stays written.
class StdoutSink final : public Sink {
 public:
  StdoutSink(LineForm form, const Decoder& decoder, int fd = 1) : form_(form), decoder_(decoder), fd_(fd) {}
  void write(std::shared_ptr<const Chunk> chunk, Callback<void> done) override;
  bool one_at_a_time() const override { return true; }

 private:
  LineForm form_;
  const Decoder& decoder_;
  int fd_;
};

}  // namespace outlast::ingest
