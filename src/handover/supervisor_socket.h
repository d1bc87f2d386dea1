#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "handover/control.h"

namespace outlast::handover {

/// STORE/supervisor.sock: where the command line asks. A client that sends nonsense, half a message or too much, that
/// never reads is closed, as is the oldest when there are too many; none hurts another. Thread-safety: none.
class SupervisorSocket {
 public:
  static constexpr std::size_t kClientsMax = 256;
  /// Asked by a client with this number; answer() reaches it as long as it is there.
  using Ask = std::function<void(std::uint64_t client, const ControlMessage&)>;

  static Result<std::unique_ptr<SupervisorSocket>> open(const std::string& folder);
  /// One that is open: the calls that wait in it are answered.
  static std::unique_ptr<SupervisorSocket> adopt(const std::string& folder, int fd);
  ~SupervisorSocket();
  SupervisorSocket(const SupervisorSocket&) = delete;
  SupervisorSocket& operator=(const SupervisorSocket&) = delete;

  int listening_fd() const { return fd_; }
  /// To poll for reading.
  std::vector<int> fds() const;
  /// Accepts, reads, calls `ask`. Call it whenever one of fds() is readable.
  void serve(const Ask& ask);
  /// `last`: closes the connection after it.
  void answer(std::uint64_t client, const ControlMessage& message, bool last);

 private:
  struct Client {
    std::uint64_t number;
    int fd;
  };
  SupervisorSocket(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  void accept_all();

  const std::string path_;
  const int fd_;
  std::uint64_t last_number_{0};
  std::vector<Client> clients_;
};

}  // namespace outlast::handover
