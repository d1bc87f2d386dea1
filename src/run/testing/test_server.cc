#include "run/testing/test_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace outlast::run::testing {
namespace {
constexpr const char* kServer = R"py(
import os, select, signal, socket, sys
directory = sys.argv[1]
mode = open(directory + "/mode").read()
assert os.environ["LISTEN_PID"] == str(os.getpid()), "LISTEN_PID is another's"
def tell(text):
    name = os.environ["NOTIFY_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.sendto(text, "\0" + name[1:])
if mode == "fail":
    sys.exit("no such setting: colour")
if mode == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if mode == "never":
    signal.pause()
if mode == "hang":
    os.kill(os.getpid(), signal.SIGSTOP)
if mode == "slow":
    open(directory + "/gate").read()
wakeup, waker = os.pipe()
os.set_blocking(waker, False)
signal.set_wakeup_fd(waker)
signal.signal(signal.SIGTERM, signal.SIG_IGN if mode == "stubborn" else lambda *_: None)
if mode == "workers":
    for _ in range(2):
        if os.fork() == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            signal.pause()
listeners = [socket.socket(fileno=3 + i) for i in range(int(os.environ["LISTEN_FDS"]))]
for one in listeners:
    one.setblocking(False)
tell(b"READY=1\nSTATUS=mode " + mode.encode())
while wakeup not in (there := select.select(listeners + [wakeup], [], [])[0]):
    for one in there:
        try:
            connection, _ = one.accept()
        except BlockingIOError:
            continue  # the other process was quicker
        connection.setblocking(True)
        if connection.recv(1):
            connection.sendall(b"%d\n" % os.getpid())
        connection.close()
)py";
}  // namespace

TestServer::TestServer(const std::string& directory) : directory_(directory) {
  std::ofstream(directory_ + "/server.py") << kServer;
  mkfifo((directory_ + "/gate").c_str(), 0600);
  mode("serve");
}

RunOptions TestServer::options() const {
  RunOptions options;
  options.command = {"/usr/bin/python3", "-IS", directory_ + "/server.py", directory_};
  options.listen = {"tcp://127.0.0.1:0"};
  options.ready = "notify";
  return options;
}

void TestServer::mode(const std::string& word) const {
  std::ofstream(directory_ + "/mode") << word;
}

void TestServer::release(const std::string& next) const {
  const int gate = open((directory_ + "/gate").c_str(), O_WRONLY);  // waits for the reader
  mode(next);
  close(gate);
}

int ask(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{20, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      send(fd, "?", 1, MSG_NOSIGNAL) == 1)
    return fd;
  close(fd);
  return -1;
}

int answer(int fd) {
  if (fd < 0) return 0;
  std::string text;
  char part[32];
  ssize_t n = 0;
  while ((n = recv(fd, part, sizeof part, 0)) > 0) text.append(part, static_cast<std::size_t>(n));
  close(fd);
  return n == 0 ? std::atoi(text.c_str()) : 0;
}

Hammer::Hammer(int port, int threads) {
  for (int i = 0; i < threads; ++i)
    threads_.emplace_back([this, port] {
      while (!stop_) {
        if (answer(ask(port)) == 0) ++failures_;
        ++connections_;
      }
    });
}

void Hammer::stop() {
  stop_ = true;
  for (std::thread& one : threads_)
    if (one.joinable()) one.join();
}

}  // namespace outlast::run::testing
