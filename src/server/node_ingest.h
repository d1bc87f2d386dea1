#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/json/object.hpp>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/cluster.h"
#include "ingest/config.h"
#include "ingest/input/input.h"
#include "ingest/pipeline.h"
#include "proto/handover.pb.h"
#include "server/metrics.h"

namespace outlast::server {

/// The inputs, buffers and sinks of a node, as its configuration describes them. Opened, it takes in and keeps
/// (source-only); start_sinks() lets it store what it has, what an earlier process left first.
/// A restart (protocol A8.6): the old worker's release() ends its readers, one socket after the other; only then does
/// the new one read() it. What the old one has buffered lies in files until the new one owns the node.
/// Thread-safety: on the node's loop, but status(). Lifetime: cluster, clock and the executor's context outlive it.
class NodeIngest {
 public:
  struct Parts {
    gateway::Cluster& cluster;
    Clock& clock;
    boost::asio::any_io_executor executor;
    std::string store;
  };
  /// `sockets`: bound ones by name (ingest_sockets.h); copies are made. Errors: of a buffer, a parser, a sink.
  static Result<std::unique_ptr<NodeIngest>> open(ingest::IngestConfig config, std::map<std::string, int> sockets,
                                                  Parts parts);
  ~NodeIngest();

  /// Reads every input that is not read yet.
  void read();
  void read(const proto::HandoverInput& from);
  /// A sender's connection; takes `fd` over.
  void adopt(const proto::HandoverConnection& connection, int fd);
  void start_sinks() { pipeline_->start_sinks(); }

  using Send = std::function<void(const proto::HandoverMessage&, int fd)>;
  /// Ends all readers and says so, with the connections that they had.
  void release(const Send& send);
  /// Nobody took over what release() gave away: goes on. Connections that were given away are gone.
  void take_back() { read(); }
  /// The buffers are the next process's, from when this returns. Returns how many records they hold.
  std::uint64_t hand_over();
  /// The end of the process without a next one in sight: what flush_at_shutdown wants is stored.
  void stop();

  const std::map<std::string, int>& sockets() const { return sockets_; }
  boost::json::object status() const;
  void samples(std::vector<Sample>& out) const;
  /// What a receipt says of a handover that this process took over; `left_behind`: what hand_over() returned there.
  boost::json::object handover_facts(std::uint64_t left_behind) const;

 private:
  struct Reader {
    ingest::InputConfig config;
    std::string socket;
    std::unique_ptr<ingest::Input> input;  ///< Null: not read here.
    ingest::InputCounters ended{};         ///< Of the last one that was read here.
  };
  NodeIngest(std::map<std::string, int> sockets, Parts parts);
  Result<std::unique_ptr<ingest::Sink>> make_table_sink(const ingest::SinkConfig& config,
                                                        const ingest::Decoder& decoder) const;
  void start(Reader& reader, Instant read_since);
  void end_readers();
  Reader* find(const std::string& socket);
  void put_held(const Reader& reader, ingest::RecordBatch held);

  const Parts parts_;
  const std::map<std::string, int> sockets_;
  std::unique_ptr<ingest::Pipeline> pipeline_;
  mutable std::mutex mutex_;  ///< Of readers_' inputs, for status().
  std::vector<Reader> readers_;
  bool ended_{false};
  std::uint64_t taken_over_{0}, connections_taken_{0}, drops_before_{0};
};

}  // namespace outlast::server
