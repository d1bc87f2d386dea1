#pragma once
#include <sys/types.h>

#include <atomic>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace outlast::testing_support {

/// Somebody else's program that sends records. It is killed when this goes.
class SendingProgram {
 public:
  /// argv; the environment is ours and what is added, "NAME=VALUE".
  explicit SendingProgram(std::vector<std::string> command, const std::vector<std::string>& environment = {});
  ~SendingProgram();
  SendingProgram(const SendingProgram&) = delete;
  SendingProgram& operator=(const SendingProgram&) = delete;

  bool running() const;
  /// A line of its standard input.
  void write(const std::string& line) const;
  /// The sockets that it has open, which no other ever is.
  std::set<std::string> sockets() const;

 private:
  pid_t pid_{0};
  int in_{-1};
};

/// Where ./dev has unpacked a package that is not installed: a path as it would be in /.
std::string unpacked(const std::string& package, const std::string& path);

/// Says "WORD=0", "WORD=1", … to each of several for as long as it lives, about 250 a second.
class NumberFeed {
 public:
  struct To {
    std::string word;
    std::function<void(const std::string& text)> say;
  };
  explicit NumberFeed(std::vector<To> to);
  ~NumberFeed() { stop(); }
  /// How many each was told.
  long stop();
  long said() const { return said_; }

 private:
  void work();
  const std::vector<To> to_;
  std::atomic<bool> over_{false};
  std::atomic<long> said_{0};
  std::thread thread_;
};

}  // namespace outlast::testing_support
