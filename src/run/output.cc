#include "run/output.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

namespace outlast::run {
namespace {
constexpr std::size_t kLines = 20, kLineBytes = 500;

bool takes_more(int fd) {
  pollfd p{fd, POLLOUT, 0};
  return poll(&p, 1, 0) == 1;  // a pipe has room for PIPE_BUF bytes then; an error is not ours to wait for
}
}  // namespace

Output::~Output() {
  if (fd_ >= 0) close(fd_);
}

Output& Output::operator=(Output&& other) noexcept {
  std::swap(fd_, other.fd_);
  lines_.swap(other.lines_);
  partial_.swap(other.partial_);
  return *this;
}

bool Output::pump(int to) {
  while (fd_ >= 0) {
    if (!takes_more(to)) return false;
    char text[PIPE_BUF];
    const ssize_t n = read(fd_, text, sizeof text);
    if (n < 0) return true;
    if (n == 0) {
      close(std::exchange(fd_, -1));
      return true;
    }
    [[maybe_unused]] const auto passed = write(to, text, static_cast<std::size_t>(n));
    remember(text, static_cast<std::size_t>(n));
  }
  return true;
}

void Output::remember(const char* text, std::size_t size) {
  for (const char c : std::string_view(text, size)) {
    if (c != '\n') {
      if (partial_.size() < kLineBytes) partial_ += c;
      continue;
    }
    lines_.push_back(std::exchange(partial_, {}));
    if (lines_.size() > kLines) lines_.pop_front();
  }
}

std::deque<std::string> Output::tail() const {
  std::deque<std::string> out = lines_;
  if (!partial_.empty()) out.push_back(partial_);
  return out;
}

}  // namespace outlast::run
