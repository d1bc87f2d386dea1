#pragma once
#include "ingest/parse/record.h"
#include "ingest/record_batch.h"

namespace outlast::ingest {

/// Appends a record as RecordForm::kParsed: its bytes are the fields as a JSON object, or "!", the error, LF and the
/// record as it came. Time, host and all that the parser found arrive as they were.
void append_parsed(RecordBatch& batch, const Record& record);
/// The same, read back; what is no such record comes whole, with an error.
Record read_parsed(const std::string& tag, const RawRecord& raw);

}  // namespace outlast::ingest
