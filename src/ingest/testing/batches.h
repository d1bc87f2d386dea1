#pragma once
#include <string>
#include <vector>

#include "ingest/buffer/chunk.h"
#include "ingest/record_batch.h"

namespace outlast::ingest::testing_support {

inline RecordBatch batch_of(const std::vector<std::string>& texts) {
  RecordBatch batch;
  for (const std::string& text : texts) batch.append(RawRecord{1'700'000'000'000'000, "192.0.2.7:514", text});
  return batch;
}

/// All texts of a chunk; what could not be read is left out.
inline std::vector<std::string> texts_of(const Chunk& chunk) {
  std::vector<std::string> texts;
  (void)chunk
      .each_batch([&](std::string_view batch) -> Result<void> {
        RawRecord record;
        for (RecordBatch::Reader reader(batch); reader.next(record);) texts.emplace_back(record.bytes);
        return {};
      })
      .ok();
  return texts;
}

}  // namespace outlast::ingest::testing_support
