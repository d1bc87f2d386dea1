#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace outlast::ingest {

/// One record as it came, before anybody parsed it: what arrived is what is kept.
struct RawRecord {
  std::int64_t received_micros{0};  ///< Wall clock of the batch that it was read in.
  std::string_view peer;            ///< "192.0.2.7" or "192.0.2.7:514"; empty when unknown.
  std::string_view bytes;           ///< Without its frame; may hold anything, NUL and invalid UTF-8 too.
};

/// What the bytes of a record are.
enum class RecordForm : std::uint8_t {
  kAsCame,  ///< As the sender wrote it, not parsed.
  kParsed,  ///< What another Outlast's parser found (parse/parsed.h); time and peer are the record's time and host.
};

/// Records one after another in one piece of memory, in the form in which chunks keep them: for each the length of what
/// follows it (u32, little-endian), the time (i64), the length of the peer (u8), peer and bytes. Appending copies once
/// and allocates rarely; nothing else is done for a record on its way in.
/// Thread-safety: none. Lifetime: views are valid until the batch changes.
class RecordBatch {
 public:
  /// Precondition: under 4 GiB. A peer is cut at 255 bytes.
  void append(const RawRecord& record);
  /// Another batch's records behind ours.
  void append(const RecordBatch& other);
  std::size_t records() const { return records_; }
  std::size_t bytes() const { return data_.size(); }
  bool empty() const { return records_ == 0; }
  void clear();
  const std::string& data() const { return data_; }

  /// The batch in `data`. kCorrupt names the place where it is no batch.
  static Result<RecordBatch> from(std::string data);
  /// How many records `data` holds; the same errors.
  static Result<std::size_t> count(std::string_view data);

  class Reader {
   public:
    explicit Reader(std::string_view data) : rest_(data) {}
    /// False at the end. Precondition: the data is a batch's.
    bool next(RawRecord& record);

   private:
    std::string_view rest_;
  };
  Reader read() const { return Reader(data_); }

 private:
  std::string data_;
  std::size_t records_{0};
};

}  // namespace outlast::ingest
