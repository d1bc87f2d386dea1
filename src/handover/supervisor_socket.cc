#include "handover/supervisor_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "handover/sockets.h"

namespace outlast::handover {
namespace {
constexpr const char* kName = "supervisor.sock";
}

Result<std::unique_ptr<SupervisorSocket>> SupervisorSocket::open(const std::string& folder) {
  ASSIGN_OR_RETURN(const int fd, listen_in(folder, kName));
  return adopt(folder, fd);
}

std::unique_ptr<SupervisorSocket> SupervisorSocket::adopt(const std::string& folder, int fd) {
  return std::unique_ptr<SupervisorSocket>(new SupervisorSocket(folder + "/" + kName, fd));
}

SupervisorSocket::~SupervisorSocket() {
  unlink(path_.c_str());
  close(fd_);
  for (const Client& client : clients_) close(client.fd);
}

std::vector<int> SupervisorSocket::fds() const {
  std::vector<int> all = {fd_};
  for (const Client& client : clients_) all.push_back(client.fd);
  return all;
}

void SupervisorSocket::accept_all() {
  for (;;) {
    const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    if (clients_.size() >= kClientsMax) {  // whoever hangs on for nothing does not keep others out
      close(clients_.front().fd);
      clients_.erase(clients_.begin());
    }
    clients_.push_back({++last_number_, fd});
  }
}

void SupervisorSocket::serve(const Ask& ask) {
  accept_all();
  // By number: an answer may close a client.
  std::vector<Client> now = clients_;
  for (const Client& client : now) {
    auto message = receive_control(client.fd);
    if (message.ok() && !message->has_value()) continue;
    if (message.ok() && (*message)->fd >= 0) close((*message)->fd);
    if (message.ok() && (*message)->kind != ControlMessage::Kind::kUnknown) {
      ask(client.number, **message);
      continue;
    }
    close(client.fd);
    std::erase_if(clients_, [&client](const Client& other) { return other.number == client.number; });
  }
}

void SupervisorSocket::answer(std::uint64_t number, const ControlMessage& message, bool last) {
  const auto client = std::ranges::find(clients_, number, &Client::number);
  if (client == clients_.end()) return;
  if (send_control(client->fd, message).ok() && !last) return;
  close(client->fd);
  clients_.erase(client);
}

}  // namespace outlast::handover
