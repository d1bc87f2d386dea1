// What `outlast run` is made of, piece by piece.
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>

#include "run/events.h"
#include "run/notify_socket.h"
#include "run/options.h"
#include "run/probe.h"
#include "run/sockets.h"
#include "tests/support/test_dir.h"

namespace outlast::run {
namespace {
using namespace std::chrono_literals;

TEST(Signals, AreNamedAsPeopleNameThem) {
  EXPECT_EQ(parse_signal("SIGQUIT").value(), SIGQUIT);
  EXPECT_EQ(parse_signal("TERM").value(), SIGTERM);
  EXPECT_EQ(parse_signal("15").value(), SIGTERM);
  EXPECT_EQ(parse_signal("SIGNOTHING").error().code, Errc::kInvalidArgument);
}

TEST(Environment, GetsTheDescriptorsOfTheSockets) {
  EXPECT_EQ(fill_in("NGINX={fds;}", {"a", "b"}).value(), "NGINX=3;4;");
  EXPECT_EQ(fill_in("FDS=<{fds }> {fd:b}", {"a", "b"}).value(), "FDS=<3 4 > 4");
  EXPECT_EQ(fill_in("JSON={\"x\":1}", {}).value(), "JSON={\"x\":1}");
  EXPECT_FALSE(fill_in("X={fd:c}", {"a"}).ok());
  EXPECT_FALSE(fill_in("X={fds", {"a"}).ok());
}

TEST(ReadyRule, IsAWordOrAnAddress) {
  EXPECT_EQ(parse_ready("notify")->kind, ReadyRule::Kind::kNotify);
  const ReadyRule rule = parse_ready("http://[::1]:80/health?x=1").value();
  EXPECT_EQ(rule.kind, ReadyRule::Kind::kHttp);
  EXPECT_EQ(rule.host + " " + rule.port + " " + rule.path, "::1 80 /health?x=1");
  EXPECT_EQ(parse_ready("http://a:1")->path, "/");
  EXPECT_EQ(parse_ready("http://a/b")->port, "80");
  EXPECT_EQ(parse_ready("http://[::1]")->host, "::1");
  for (const char* bad : {"", "ready", "tcp://host", "ftp://a:1", "http://:80"}) EXPECT_FALSE(parse_ready(bad).ok());
}

/// A probe of a socket of ours; every try of it is answered here.
class ProbeTest : public ::testing::Test {
 protected:
  void TearDown() override { close(listener_.fd); }
  ReadyRule rule(const std::string& scheme) const {
    return parse_ready(scheme + listener_.url.substr(listener_.url.find("://"))).value();
  }
  /// Accepts the connection of the probe's next try; until then nobody has it.
  int accept_next(Probe& probe) {
    now_ = std::max(now_, probe.next());
    EXPECT_FALSE(probe.step(now_));
    return accept(listener_.fd, nullptr, nullptr);
  }

  Listener listener_ = open_listener("tcp://127.0.0.1:0").value();
  Instant now_{1h};
};

TEST_F(ProbeTest, BelievesOnlyAProcessOfTheGroup) {
  Probe other(rule("tcp"), 1, {}), ours(rule("tcp"), getpgrp(), {});
  const int first = accept_next(other);
  EXPECT_FALSE(other.step(now_));
  EXPECT_EQ(other.last(), "another process answered the probe");
  const int second = accept_next(ours);
  EXPECT_TRUE(ours.step(now_));
  close(first);
  close(second);
}

/// A process in a group of its own that holds the socket, and waits for it with epoll or only sleeps.
pid_t fork_beside(int listening, bool waits) {
  int ready[2];
  if (pipe(ready) != 0) return 0;
  const pid_t child = fork();
  if (child != 0) {
    char byte = 0;
    EXPECT_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
  }
  setpgid(0, 0);
  if (waits) {
    const int set = epoll_create1(EPOLL_CLOEXEC);
    epoll_event event{.events = EPOLLIN, .data = {}};
    epoll_ctl(set, EPOLL_CTL_ADD, listening, &event);
  }
  (void)!write(ready[1], "x", 1);
  for (;;) pause();
}

TEST_F(ProbeTest, WhoeverIsAlwaysTooLateCountsOnceItWaitsForConnections) {
  for (const bool waits : {false, true}) {
    const pid_t group = fork_beside(listener_.fd, waits);
    Probe probe(rule("tcp"), group, {listener_.fd});
    bool ready = false;
    for (int lost = 0; !ready && lost < 2 * Probe::kLostEnough; ++lost) {
      const int fd = accept_next(probe);  // this process is quicker every time
      ready = probe.step(now_);
      close(fd);
    }
    EXPECT_EQ(ready, waits);
    kill(group, SIGKILL);
    waitpid(group, nullptr, 0);
  }
}

TEST_F(ProbeTest, WantsAGoodStatus) {
  Probe probe(rule("http"), getpgrp(), {});
  for (const std::string status : {"503 Later", "204 Fine"}) {
    const int fd = accept_next(probe);
    EXPECT_FALSE(probe.step(now_));  // asks
    char request[512];
    ASSERT_GT(recv(fd, request, sizeof request, 0), 0);
    const std::string text = "HTTP/1.1 " + status + "\r\n\r\n";
    ASSERT_GT(send(fd, text.data(), text.size(), MSG_NOSIGNAL), 0);
    EXPECT_EQ(probe.step(now_), status == "204 Fine");
    close(fd);
  }
  EXPECT_EQ(probe.last(), "it answered \"HTTP/1.1 503 Later\"");
}

TEST_F(ProbeTest, TriesAgainWhenNobodyAccepts) {
  Probe probe(rule("tcp"), getpgrp(), {});
  EXPECT_FALSE(probe.step(now_));
  EXPECT_FALSE(probe.step(now_ + 1s));
  EXPECT_EQ(probe.last(), "nobody accepted the probe's connection");
  close(listener_.fd);
  EXPECT_FALSE(probe.step(now_ + 2s));
  EXPECT_NE(probe.last().find("refused"), std::string::npos) << probe.last();
  listener_ = open_listener("tcp://127.0.0.1:0").value();
}

TEST(Listener, TakesEveryKindOfAddress) {
  std::vector<Listener> all;
  for (const char* spec : {"web=tcp://127.0.0.1:0", "tcp://[::1]:0", "udp://127.0.0.1:0", "tcp://:0"})
    all.push_back(open_listener(spec).value());
  EXPECT_EQ(all[0].name, "web");
  EXPECT_EQ(all[1].name, "tcp");
  EXPECT_TRUE(all[0].url.starts_with("tcp://127.0.0.1:")) << all[0].url;
  EXPECT_TRUE(all[1].url.starts_with("tcp://[::1]:")) << all[1].url;
  EXPECT_TRUE(all[2].url.starts_with("udp://127.0.0.1:")) << all[2].url;
  EXPECT_EQ(queued_connections(all), 0);
  const auto taken = open_listener(all[0].url);
  EXPECT_NE(taken.error().message.find(all[0].url), std::string::npos);
  close_all(all);
  for (const char* bad : {"127.0.0.1:80", "tcp://80", "ftp://a:1", "a:b=tcp://:1", "=tcp://:1", "unix://relative"})
    EXPECT_EQ(open_listener(bad).error().code, Errc::kInvalidArgument) << bad;
}

TEST(Listener, ReplacesAUnixSocketOnlyWhenNobodyListensOnIt) {
  const testing_support::TestDir dir;
  const std::string url = "unix://" + (dir.path() / "s").string();
  Listener first = open_listener(url).value();
  EXPECT_EQ(open_listener(url).error().code, Errc::kUnavailable);
  close(first.fd);
  std::vector<Listener> second = {open_listener(url).value()};
  EXPECT_EQ(second[0].url, url);
  close_all(second);
  EXPECT_FALSE(std::filesystem::exists(dir.path() / "s"));
}

TEST(NotifySocket, HearsOnlyItsOwnProcesses) {
  NotifySocket heard = NotifySocket::open().value();
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  getsockname(heard.fd(), reinterpret_cast<sockaddr*>(&address), &size);
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const std::string text = "STATUS=warming up\nREADY=1\nX=1";
  const auto say = [&] { return sendto(fd, text.data(), text.size(), 0, reinterpret_cast<sockaddr*>(&address), size); };
  ASSERT_GT(say(), 0);
  EXPECT_FALSE(heard.receive([](pid_t) { return false; }).has_value());
  ASSERT_GT(say(), 0);
  const Notice notice = heard.receive([](pid_t pid) { return pid == getpid(); }).value();
  EXPECT_TRUE(notice.ready);
  EXPECT_FALSE(notice.stopping);
  EXPECT_EQ(notice.status, "warming up");
  close(fd);
}

TEST(Events, AreSentencesForPeople) {
  EXPECT_EQ(sentence("ready", 12, ""), "process 12 is ready");
  EXPECT_EQ(sentence("killed", 12, "it was late"), "process 12 is killed: it was late");
  EXPECT_EQ(sentence("ended", 12, "exited with code 1"), "process 12 exited with code 1");
  Receipt receipt{
      .id = 3, .outcome = "completed", .from_pid = 10, .to_pid = 12, .queued = 2, .ready = 40ms, .left = 5ms};
  EXPECT_EQ(sentence(receipt),
            "reload 3 completed: process 10 -> 12, ready in 40ms, the old one gone after 5ms, 2 connections waited");
  receipt.outcome = "rolled_back";
  receipt.why = "exited with code 1 before it was ready";
  EXPECT_EQ(sentence(receipt), "reload 3 rolled back, process 10 goes on: exited with code 1 before it was ready");
}

}  // namespace
}  // namespace outlast::run
