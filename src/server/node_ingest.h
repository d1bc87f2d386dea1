#pragma once
#include <atomic>
#include <boost/asio/any_io_executor.hpp>
#include <boost/json/object.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "gateway/cluster.h"
#include "http/server.h"
#include "ingest/config.h"
#include "ingest/input/input.h"
#include "ingest/pipeline.h"
#include "proto/handover.pb.h"
#include "server/metrics.h"
#include "server/options.h"

namespace outlast::server {

/// The inputs, buffers and sinks of a node, as its configuration describes them. Opened, it takes in and keeps
/// (source-only); start_sinks() lets it store what it has, what an earlier process left first.
/// A restart (protocol A8.6): the old worker's release() ends its readers, one socket after the other; only then does
/// the new one read() it. What the old one has buffered lies in files until the new one owns the node.
/// Thread-safety: on the node's loop, but status(). Lifetime: cluster, clock and the executor's context outlive it.
class NodeIngest {
 public:
  struct Parts {
    gateway::Cluster* cluster{nullptr};  ///< Null: there is no database, and no sink may want one.
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
  /// Ends source-only, once. Any thread.
  void start_sinks();

  /// Any thread.
  using Send = std::function<void(const proto::HandoverMessage&, int fd)>;
  /// Ends all readers and says so, with the connections that they had. Connections whose request is being answered
  /// follow until hand_over() or stop() returns.
  void release(const Send& send);
  /// Nobody took over what release() gave away: goes on. Connections that were given away are gone.
  void take_back();
  /// The buffers are the next process's, from when this returns. Returns how many records they hold.
  std::uint64_t hand_over();
  /// The node leaves the cluster: inputs close, and what is buffered goes to the sinks at once. load() says how far it
  /// is. On the loop, as stay(); again: nothing.
  void leave();
  /// Takes leave() back.
  void stay();
  /// What inputs and buffers still hold. Any thread.
  struct Load {
    std::uint64_t inputs{0}, inputs_open{0};    ///< Configured; those of which something may still come.
    std::uint64_t buffers{0}, buffer_bytes{0};  ///< Of sinks, not empty; what lies in them.
    struct Wait {
      std::string kind, name, why;
    };
    std::vector<Wait> waits;               ///< For each that is open or not empty.
    std::vector<std::string> left_behind;  ///< What no sink will ever get, in sentences.
  };
  Load load() const;

  /// The end of the process without a next one in sight: what flush_at_shutdown wants is stored, unless source-only.
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
    ingest::RecordBatch held{};            ///< That it had read and given away: ours again if it is taken back.
    /// Released, while connections of theirs wait for answers.
    std::vector<std::unique_ptr<ingest::Input>> leaving{};
  };
  NodeIngest(std::map<std::string, int> sockets, Parts parts);
  Result<std::unique_ptr<ingest::Sink>> make_table_sink(const ingest::SinkConfig& config,
                                                        const ingest::Decoder& decoder) const;
  void start(Reader& reader, Instant read_since, ingest::RecordBatch held);
  void give(Reader& reader, ingest::MovedConnection connection, const Send& send);
  void end_readers();
  bool end();
  bool is_open(const Reader& reader) const;
  Reader* find(const std::string& socket);
  void put_held(const Reader& reader, ingest::RecordBatch held);

  const Parts parts_;
  const std::map<std::string, int> sockets_;
  std::unique_ptr<ingest::Pipeline> pipeline_;
  mutable std::mutex mutex_;  ///< Of readers_' inputs, for status().
  std::vector<Reader> readers_;
  std::mutex ending_;
  bool ended_{false};  // under ending_: no sink starts afterwards
  std::atomic<bool> source_only_{true}, leaving_{false};
  std::uint64_t taken_over_{0}, connections_taken_{0}, drops_before_{0};
};

/// What the worker's configuration describes; null when that names neither inputs nor sinks. When it has been broken
/// since a worker read it, what was read then is still there.
Result<std::unique_ptr<NodeIngest>> open_ingest(const WorkerOptions& options, NodeIngest::Parts parts);

/// GET /api/ingest. `ingest` is asked on the server's thread; null: none, or not yet.
void add_ingest_route(http::Server& server, std::function<const NodeIngest*()> ingest);

}  // namespace outlast::server
