#include "handover/adoption.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

#include "handover/control.h"

namespace outlast::handover {
namespace {
using Kind = ControlMessage::Kind;
using Steady = std::chrono::steady_clock;
constexpr std::chrono::seconds kIntroduction{5};

/// Who holds STORE/LOCK (storage takes it as an open file description lock); empty: nobody.
std::string holder_of(const std::string& store) {
  const int fd = open((store + "/LOCK").c_str(), O_RDWR | O_CLOEXEC);
  if (fd < 0) return {};
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  char text[64] = "";
  const bool held = fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
  const ssize_t n = held ? pread(fd, text, sizeof text - 1, 0) : 0;
  close(fd);
  std::string holder(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  while (!holder.empty() && holder.back() == '\n') holder.pop_back();
  return held && holder.empty() ? "unknown" : holder;
}

void take(Found& found, ControlMessage& message) {
  Child& worker = *found.worker;
  switch (message.kind) {
    case Kind::kIncarnation:
      worker.node = message.node;
      worker.incarnation = message.incarnation;
      break;
    case Kind::kReady:
      worker.ready = true;
      worker.version = message.text;
      break;
    case Kind::kSourceOnly:
      found.source_only = true;
      break;
    case Kind::kListener: {
      int& place = message.text == "sql"    ? found.listeners.sql
                   : message.text == "http" ? found.listeners.http
                                            : found.listeners.inputs.try_emplace(message.text, -1).first->second;
      std::swap(place, message.fd);
      break;
    }
    default:
      break;
  }
  if (message.fd >= 0) close(message.fd);
}

/// HTTP comes last, and a collector has no SQL.
bool introduced(const Found& found) {
  return found.worker->ready && found.worker->incarnation && found.listeners.http >= 0;
}

bool listen_to(Found& found) {
  const auto end = Steady::now() + kIntroduction;
  while (!introduced(found)) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Steady::now()).count();
    pollfd said{found.worker->control_fd, POLLIN, 0};
    if (left <= 0 || poll(&said, 1, static_cast<int>(left)) == 0) return false;
    auto message = receive_control(found.worker->control_fd);
    if (!message.ok()) return false;
    if (message->has_value()) take(found, **message);
  }
  return true;
}
}  // namespace

Found look_for_worker(const std::string& store) {
  Found found;
  auto control = connect_in(store, "worker.sock");
  if (control.ok()) {
    ucred who{};
    socklen_t size = sizeof who;
    found.worker = std::make_unique<Child>();
    found.worker->control_fd = *control;
    found.worker->ours = false;
    if (getsockopt(*control, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0) found.worker->pid = who.pid;
    found.worker->pid_fd = open_pid_fd(found.worker->pid);
    if (found.worker->pid_fd >= 0 && listen_to(found)) {
      found.what = Found::What::kWorker;
      return found;
    }
    close_all(std::exchange(found.listeners, {}));
    found.worker.reset();
  }
  found.holder = holder_of(store);
  found.what = found.holder.empty() ? Found::What::kNobody : Found::What::kSilent;
  return found;
}

}  // namespace outlast::handover
