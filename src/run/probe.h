#pragma once
#include <sys/types.h>

#include <string>
#include <vector>

#include "base/loop.h"

namespace outlast::run {

/// When a new process counts as ready.
struct ReadyRule {
  enum class Kind : std::uint8_t { kNone, kExec, kNotify, kTcp, kHttp };
  Kind kind{Kind::kExec};
  std::string host, port, path;  ///< Of a probe.
};
/// "none", "exec", "notify", "tcp://HOST:PORT", "http://HOST:PORT/PATH".
Result<ReadyRule> parse_ready(const std::string& text);

/// Asks again and again whether a process answers, without blocking. Old and new process share the sockets, so an
/// answer alone proves nothing: it counts only when the connection was accepted by a process of `group` (looked up in
/// /proc). A busy old process can be quicker every time: after kLostEnough of such losses a process of the group that
/// waits for connections on one of the sockets counts as ready too.
class Probe {
 public:
  static constexpr int kLostEnough = 10;
  /// `listening`: the sockets that the group was given.
  Probe(ReadyRule rule, pid_t group, std::vector<int> listening)
      : rule_(std::move(rule)), group_(group), listening_(std::move(listening)) {}
  ~Probe() { close_now(); }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  /// Goes on as far as it can. True: it answered.
  bool step(Instant now);
  int fd() const { return fd_; }  ///< -1: nothing to wait for but next().
  short events() const;
  Instant next() const { return next_; }             ///< When to step at the latest.
  const std::string& last() const { return last_; }  ///< How the last try ended, in words.

 private:
  enum class Step : std::uint8_t { kIdle, kConnecting, kAccepting, kAnswering };
  void connect_now(Instant now);
  bool accepted(Instant now);
  bool answered(Instant now);
  void failed(const std::string& why, Instant now);
  void close_now();

  ReadyRule rule_;
  pid_t group_;
  std::vector<int> listening_;
  int lost_{0};  ///< Tries that another process was quicker at, in a row.
  Step step_{Step::kIdle};
  int fd_{-1};
  Instant next_{}, give_up_{};
  std::string answer_, last_{"it was not asked yet"};
};

}  // namespace outlast::run
