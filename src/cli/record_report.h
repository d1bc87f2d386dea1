#pragma once
#include <boost/json/object.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cli/record_check.h"

namespace outlast::cli {

/// One kind of sender, of all nodes together.
struct RecordKindReport {
  SenderCounts counts;
  StoredRecords stored;  ///< In the table.
};

/// What became of the records of one part of a run. What was not measured is empty, and fails the run.
struct RecordsReport {
  std::uint64_t wanted{0};  ///< So many records have to be sent at least.
  std::map<RecordKind, RecordKindReport> kinds;
  std::uint64_t unreadable{0};                ///< Rows of the table without a record.
  std::optional<StoredRecords> files;         ///< In the files beside the table.
  std::optional<std::uint64_t> kernel_drops;  ///< Of all datagram sockets.
  std::optional<double> longest_gap_ms;       ///< In which no worker read although something may have waited.

  SenderCounts counts() const;
  StoredRecords stored() const;
};

/// What a run with nothing but restarts promises and did not keep, in words.
void record_failures(const RecordsReport& report, std::vector<std::string>& why);
/// The same for a part in which a worker was killed: HTTP's records are there, of datagrams at most what
/// one read takes is lost, and nothing is there twice but what a client sent twice.
void record_failures_after_kill(const RecordsReport& report, std::vector<std::string>& why);
boost::json::object to_json(const RecordsReport& report);
/// Lines for a person.
std::string records_summary(const char* title, const RecordsReport& report);

}  // namespace outlast::cli
