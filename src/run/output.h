#pragma once
#include <deque>
#include <string>
#include <utility>

namespace outlast::run {

/// The read end of a process's stderr: passes on what comes and keeps the last lines.
class Output {
 public:
  Output() = default;
  explicit Output(int fd) : fd_(fd) {}  ///< Owns it; it must not block.
  ~Output();
  Output(Output&& other) noexcept { *this = std::move(other); }
  Output& operator=(Output&& other) noexcept;

  int fd() const { return fd_; }  ///< -1 after its end.
  /// Reads what is there, to `to` as it is. False: `to` takes no more for now, so the rest was left in the pipe.
  bool pump(int to);
  std::deque<std::string> tail() const;

 private:
  void remember(const char* text, std::size_t size);

  int fd_{-1};
  std::deque<std::string> lines_;
  std::string partial_;
};

}  // namespace outlast::run
