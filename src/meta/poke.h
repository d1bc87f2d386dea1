#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"

namespace outlast::meta {

/// Tells the other openers of an embedded store at once that something was committed: each binds a datagram socket
/// `watch.<random>.sock` in the directory, a committer sends one byte to all. A courtesy: a lost byte costs the
/// listener its polling interval, never an event.
/// Thread-safety: none; belongs to the store's worker.
class PokeSocket {
 public:
  /// Errors: kIo.
  static Result<std::unique_ptr<PokeSocket>> open(const std::filesystem::path& dir);
  ~PokeSocket();
  PokeSocket(const PokeSocket&) = delete;
  PokeSocket& operator=(const PokeSocket&) = delete;

  /// Readable when somebody poked.
  int fd() const { return fd_; }
  /// Pokes every other socket in the directory; removes those whose owner is gone.
  void poke_others();
  /// Takes all bytes that wait. True when there was one.
  bool drain();

 private:
  PokeSocket(int dir_fd, int fd, std::string name) : dir_fd_(dir_fd), fd_(fd), name_(std::move(name)) {}
  int dir_fd_, fd_;
  std::string name_;
};

}  // namespace outlast::meta
