#pragma once
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "ingest/input/socket.h"
#include "ingest/intake.h"

namespace outlast::ingest {

/// Keeps what it is given, and says what a test wants it to say.
class TestIntake final : public Intake {
 public:
  struct Kept {
    std::string peer, bytes;
  };

  Taken put(const std::string& tag, RecordBatch& batch, Ack, Callback<void> done) override {
    std::unique_lock lock(mutex_);
    ++puts_;
    tag_ = tag;
    changed_.notify_all();
    if (answer_ != Taken::kYes) return answer_;
    RawRecord record;
    for (auto reader = batch.read(); reader.next(record);)
      kept_.push_back({std::string(record.peer), std::string(record.bytes)});
    if (hold_acks_) {
      acks_.push_back(std::move(done));
      return Taken::kYes;
    }
    lock.unlock();
    done({});
    return Taken::kYes;
  }
  Taken put_named(const NamedChunk& chunk, RecordBatch& batch, Ack ack, Callback<void> done) override {
    {
      const std::lock_guard lock(mutex_);
      named_.push_back(chunk);
    }
    return put(chunk.tag, batch, ack, std::move(done));
  }
  void on_room(Task room) override {
    std::unique_lock lock(mutex_);
    if (answer_ != Taken::kWait) {
      lock.unlock();
      return room();
    }
    rooms_.push_back(std::move(room));
    changed_.notify_all();
  }

  void say(Taken answer) {
    std::unique_lock lock(mutex_);
    answer_ = answer;
    std::vector<Task> rooms;
    if (answer != Taken::kWait) rooms = std::exchange(rooms_, {});
    lock.unlock();
    for (Task& room : rooms) room();
  }
  void hold_acks(bool hold) { hold_acks_ = hold; }
  /// Answers all that is held.
  void acknowledge(const Result<void>& result) {
    std::unique_lock lock(mutex_);
    auto acks = std::exchange(acks_, {});
    lock.unlock();
    for (auto& ack : acks) ack(result);
  }
  template <class Condition>
  bool wait(Condition condition, std::chrono::seconds longest = std::chrono::seconds(30)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, longest, [&] { return condition(*this); });
  }
  bool wait_for(std::size_t records) {
    std::unique_lock lock(mutex_);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (kept_.size() < records)
      if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) return kept_.size() >= records;
    return true;
  }
  bool wait_until_held() {
    return wait([](TestIntake& i) { return !i.rooms_.empty(); });
  }
  bool wait_for_acks(std::size_t n) {
    return wait([n](TestIntake& i) { return i.acks_.size() >= n; });
  }
  std::vector<Kept> kept() {
    const std::lock_guard lock(mutex_);
    return kept_;
  }
  std::size_t count() {
    const std::lock_guard lock(mutex_);
    return kept_.size();
  }
  std::size_t puts() {
    const std::lock_guard lock(mutex_);
    return puts_;
  }
  /// What came under ids.
  std::vector<NamedChunk> named() {
    const std::lock_guard lock(mutex_);
    return named_;
  }
  std::string tag() {
    const std::lock_guard lock(mutex_);
    return tag_;
  }
  std::vector<std::string> texts() {
    std::vector<std::string> out;
    for (const Kept& k : kept()) out.push_back(k.bytes);
    return out;
  }
  /// What each peer sent, in order.
  std::map<std::string, std::vector<std::string>> by_peer() {
    std::map<std::string, std::vector<std::string>> out;
    for (const Kept& k : kept()) out[k.peer].push_back(k.bytes);
    return out;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Taken answer_{Taken::kYes};
  bool hold_acks_{false};
  std::vector<Kept> kept_;
  std::vector<Task> rooms_;
  std::vector<Callback<void>> acks_;
  std::size_t puts_{0};
  std::vector<NamedChunk> named_;
  std::string tag_;
};

/// A blocking client of a port on 127.0.0.1.
class TestClient {
 public:
  TestClient(int type, std::uint16_t port) : fd_(socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0) << strerror(errno);
  }
  void send(std::string_view bytes) {
    do {
      const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0) {
        ADD_FAILURE() << strerror(errno);
        return;
      }
      bytes.remove_prefix(static_cast<std::size_t>(n));
    } while (!bytes.empty());
  }
  void end() { shutdown(fd_.get(), SHUT_WR); }
  void close() { fd_ = Fd(); }
  /// "" at the end of the connection, or after 20 s.
  std::string receive() {
    const timeval longest{20, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest);
    std::string out(65536, '\0');
    const ssize_t n = recv(fd_.get(), out.data(), out.size(), 0);
    out.resize(static_cast<std::size_t>(std::max<ssize_t>(n, 0)));
    return out;
  }
  std::string receive_all() {
    std::string all;
    for (std::string piece = receive(); !piece.empty(); piece = receive()) all += piece;
    return all;
  }
  std::string name() const {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  int fd() const { return fd_.get(); }

 private:
  Fd fd_;
};

}  // namespace outlast::ingest
