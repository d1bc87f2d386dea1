#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/retry.h"
#include "tests/sim/cluster.h"
#include "tests/sim/linearizability.h"

namespace outlast::sim {

/// What all clients of one history did, by object.
struct Histories {
  std::map<std::string, std::vector<Operation>> objects;
  std::uint64_t moments{0};
  std::uint64_t done{0}, unknown{0}, failed{0}, resolved{0};
  Instant last_write{};  ///< When a write was acknowledged last.
};

/// One client and its session at a gateway: one operation at a time. It does what gateway::Session does (routes by the
/// gateway's table, repeats unseen what gateway::judge allows) in callbacks instead of coroutines, whose timers are
/// those of the operating system. Objects: registers, lists, slots (rows that exist or not).
class Client {
 public:
  Client(Cluster& cluster, Histories& histories, int number, int objects);

  void start();
  /// Runs these statements first, again and again until each has succeeded; then start() by itself and `ready`.
  void set_up(std::vector<std::string> sql, std::function<void()> ready);
  void stop() { stopped_ = true; }
  bool idle() const { return !op_; }
  /// Reads every object once, successfully, and then stops.
  void read_all();
  bool has_read_all() const { return sweep_ && sweep_->empty(); }
  /// The process at this machine is gone; with it a session, and the answer to what it was asked.
  void process_gone(int machine);
  Duration think{std::chrono::milliseconds(20)};  ///< Between operations, at most.
  bool at_leader{false};                          ///< Connects where the range is led, and stays there.
  bool bulk{false};                               ///< Its transactions change more pages than SQLite's cache holds.

 private:
  struct Step {
    std::string sql;
    std::vector<std::string> params;
    bool begin{false}, commit{false};
  };
  /// The write that was sent last: what is asked when its answer is lost.
  struct Write {
    RangeId range;
    std::uint64_t id{0};
    Epoch addressed;
    Lsn after;  ///< Known to be durable in that epoch before.
    Instant sent{}, give_up{};
  };
  void next();
  void begin_operation();
  void attempt();
  bool find_route(std::optional<gateway::Route>& route);
  bool connect(const gateway::Route& route);
  void close();
  void ask(std::size_t step);
  void call(proto::ExecRequest request, std::function<void()> broke, std::function<void(proto::ExecReply)> got);
  void answer(std::size_t step, proto::ExecReply reply);
  void broken();
  void judge(const Error& error, bool nothing_applied, bool alive);
  // client_doubt.cc
  void in_doubt();
  void resolve();
  void ask_fate();
  void told_fate(const proto::ExecReply& reply);
  void resolve_again();
  void succeed(std::optional<std::string> result);
  void succeed_with(const proto::ExecReply& reply);
  void end(bool known, std::optional<std::string> result);
  void retry();
  std::uint64_t request_id() const;
  proto::ExecRequest request(const Step& step) const;
  std::vector<Step> steps() const;
  Process* gateway() const;

  Cluster& cluster_;
  Histories& histories_;
  const int number_, objects_;
  bool stopped_{false};
  int gateway_{0};
  std::uint64_t written_{0};
  // The operation under way.
  std::optional<Operation> op_;
  std::vector<std::string> set_up_;
  std::function<void()> ready_;
  std::optional<std::vector<std::int64_t>> sweep_;
  std::uint64_t attempt_{0};  ///< Counts everything that may still answer; older answers do not count.
  std::string object_;
  std::int64_t key_{0};
  Instant give_up_{};
  bool sent_write_{false};
  std::optional<std::string> seen_;  ///< By the first statement of a transaction.
  Duration pause_{};
  Write write_;
  // The connection to a leaseholder.
  StreamPtr stream_;
  gateway::Route route_;
  RangeId range_;
  Epoch durable_epoch_;
  Lsn durable_;  ///< Highest LSN that an answer of that epoch depended on.
};

}  // namespace outlast::sim
