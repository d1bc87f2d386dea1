#pragma once
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "run/options.h"

namespace outlast::run::testing {

/// A small server in Python whose behaviour is a word in a file, read when it starts: serve, fail, die, never (ready),
/// hang (SIGSTOP), slow (waits for release()), stubborn (ignores SIGTERM), workers (leaves processes behind). It
/// answers each connection with its pid, and ends what it has begun when it gets SIGTERM.
class TestServer {
 public:
  explicit TestServer(const std::string& directory);  ///< For its files.
  RunOptions options() const;                         ///< One socket, --ready=notify.
  void mode(const std::string& word) const;
  /// Lets a slow server go on, once it waits; those started from then on have the mode `next`.
  void release(const std::string& next = "serve") const;

 private:
  std::string directory_;
};

/// Connects and asks; the descriptor, -1 when that failed.
int ask(int port);
/// The pid that answered, 0 when none did; closes `fd`.
int answer(int fd);

/// Clients that ask again and again until stop().
class Hammer {
 public:
  Hammer(int port, int threads);
  ~Hammer() { stop(); }
  void stop();
  int connections() const { return connections_; }
  int failures() const { return failures_; }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int> connections_{0}, failures_{0};
  std::vector<std::thread> threads_;
};

}  // namespace outlast::run::testing
