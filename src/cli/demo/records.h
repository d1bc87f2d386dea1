#pragma once
#include <boost/json/object.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/local_cluster.h"
#include "cli/pg_connection.h"
#include "cli/record_report.h"
#include "cli/record_senders.h"

namespace outlast::cli {

/// Configurations, buffers and files of records lie beside the nodes' stores.
struct DemoRecordsOptions {
  int nodes{3};
  double rate{1500};    ///< Records a second, of all senders together.
  bool lasting{false};  ///< Buffers in files, which outlive a kill -9, and a file of all records beside the table.
};

/// The records of a demo: every node has an input of each kind, every input a sender, and all go into one replicated
/// table. A run has one part or several, each with senders of its own, so that each is judged by itself.
/// Thread-safety: none. Lifetime: the cluster outlives it.
class DemoRecords {
 public:
  DemoRecords(const LocalCluster& cluster, DemoRecordsOptions options);

  /// Writes the configuration of one node; what its `start` needs.
  std::vector<std::string> start_args(int node) const;
  /// The table, and where the inputs listen. Precondition: every node serves.
  Result<void> prepare();
  /// A new part of the run: its senders start.
  void begin();
  /// Its senders stop; `wanted`: so many records should have been sent.
  void end(std::uint64_t wanted);
  /// Notes what the workers say of their inputs: those of today are gone after the next restart.
  void look();
  /// A longest gap that somebody else knows of, such as a receipt.
  void note_gap(double ms);
  /// One line about the present part; empty before the first.
  std::string progress() const;
  /// Until everything that was sent is stored, or nothing more comes.
  Result<void> settle();
  /// Reads the files too: what became of each part. Precondition: settle().
  std::vector<RecordsReport> reports() const;

 private:
  static constexpr const char* kDatabase = "records";  ///< Its table has the same name.
  struct Part {
    std::unique_ptr<RecordSenders> senders;
    std::uint64_t wanted{0};
    std::optional<std::uint64_t> drops_before, drops;
    std::optional<double> longest_gap_ms;
  };
  std::string configuration(int node) const;
  std::string file(int node) const;
  Result<void> find_inputs(int node);
  Result<boost::json::object> status(int node) const;
  std::optional<std::uint64_t> kernel_drops() const;
  Result<void> read_rows(std::optional<PgConnection>& sql);
  bool complete() const;
  bool nothing_held() const;
  RecordCheck read_files() const;
  RecordsReport report(const Part& part, const RecordCheck* files) const;

  const LocalCluster& cluster_;
  const DemoRecordsOptions options_;
  std::vector<SenderPlan> inputs_;  ///< One sender for each, still without its id.
  std::vector<Part> parts_;
  RecordCheck table_;
  std::string last_row_{"0"};
};

/// What the kernel dropped on a datagram socket, by the text of /proc/net/udp; empty: it is not there. Pure.
std::optional<std::uint64_t> drops_of_socket(const std::string& table, const std::string& host, std::uint16_t port);

}  // namespace outlast::cli
