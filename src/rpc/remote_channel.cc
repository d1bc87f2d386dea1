#include "rpc/remote_channel.h"

#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <cerrno>
#include <map>
#include <optional>
#include <set>

namespace outlast::rpc {
namespace asio = boost::asio;
using proto::ExecReply;
using proto::ExecRequest;
using proto::ExecUp;
using Tcp = asio::ip::tcp;

namespace {
constexpr auto kTuple = asio::as_tuple(asio::use_awaitable);
constexpr auto kConnectPatience = std::chrono::seconds(5);

ExecReply broken(const Error& error, bool nothing_applied) {
  ExecReply reply;
  reply.mutable_error()->set_code(std::string(facts(error.code).name));
  reply.mutable_error()->set_message(error.message);
  reply.set_nothing_applied(nothing_applied);
  return reply;
}
Error finished() {
  return {Errc::kUnavailable, "that process of the leaseholder is finished"};
}
}  // namespace

/// What other threads may touch of a channel: its descriptor, to end or interrupt what runs on it.
struct RemoteChannels::Line {
  std::mutex mutex;
  int fd{-1};
  bool ended{false};            ///< Fenced or stopped: nothing is sent any more.
  bool running{false};          ///< A request was sent whole and its answer is not here yet.
  bool sending{false};          ///< The kernel has not taken all of the request yet.
  bool interrupt_waits{false};  ///< ... and an interrupt has to follow it.

  void end() {
    const std::lock_guard lock(mutex);
    ended = true;
    if (fd >= 0) ::shutdown(fd, SHUT_RDWR);  // wakes the reader
  }
  void interrupt() {
    const std::lock_guard lock(mutex);
    if (sending) interrupt_waits = true;
    if (running && !ended) send_interrupt();
  }
  /// A few bytes behind an answered request: a kernel that does not take them has a peer that is gone.
  void send_interrupt() const {
    ExecUp up;
    up.set_interrupt(true);
    std::string bytes;
    append_frame(bytes, up);
    [[maybe_unused]] const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }
};

struct RemoteChannels::Shared {
  using Key = std::pair<NodeId, Incarnation>;
  explicit Shared(Hello h) : self(std::move(h)) {}
  const Hello self;
  std::mutex mutex;
  bool stopped{false};
  std::map<Key, std::set<std::shared_ptr<Line>>> open;
  std::set<Key> fenced;

  /// False when that incarnation is finished.
  bool add(const Key& key, const std::shared_ptr<Line>& line) {
    const std::lock_guard lock(mutex);
    if (stopped || fenced.contains(key)) return false;
    open[key].insert(line);
    return true;
  }
  void remove(const Key& key, const std::shared_ptr<Line>& line) {
    const std::lock_guard lock(mutex);
    const auto it = open.find(key);
    if (it == open.end()) return;
    it->second.erase(line);
    if (it->second.empty()) open.erase(it);
  }
};

/// A request is written only after the other side's welcome: a failure before that is certain to have started nothing.
class RemoteChannels::RemoteChannel final : public executor::Channel {
 public:
  RemoteChannel(std::shared_ptr<Shared> shared, NodeId node, Incarnation incarnation, std::string address)
      : shared_(std::move(shared)), key_(node, incarnation), address_(std::move(address)) {
    dead_ = !shared_->add(key_, line_);
  }
  ~RemoteChannel() override {
    hang_up();
    shared_->remove(key_, line_);
  }

  asio::awaitable<ExecReply> call(ExecRequest request) override {
    if (dead_) co_return broken(finished(), true);
    if (!connected_) {
      const Result<void> open = co_await connect();
      if (!open.ok()) {
        hang_up();
        co_return broken(open.error(), true);
      }
    }
    ExecUp up;
    up.mutable_request()->Swap(&request);
    std::string bytes;
    append_frame(bytes, up);
    if (const Result<void> sent = co_await send(std::move(bytes)); !sent.ok()) {
      hang_up();
      co_return broken(sent.error(), false);
    }
    const auto frame = co_await read_frame(*socket_, cutter_);
    {
      const std::lock_guard lock(line_->mutex);
      line_->running = false;
    }
    ExecReply reply;
    if (frame.ok() && reply.ParseFromArray(frame->data(), static_cast<int>(frame->size()))) co_return reply;
    hang_up();
    co_return broken(
        frame.ok() ? Error(Errc::kUnavailable, "the leaseholder sent what this version cannot read") : frame.error(),
        false);
  }
  void interrupt() override { line_->interrupt(); }
  /// Asks the kernel, because nobody reads between two calls.
  bool alive() const override {
    if (dead_) return false;
    const std::lock_guard lock(line_->mutex);
    if (line_->ended) return false;
    if (!connected_) return true;
    char byte = 0;
    return ::recv(line_->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

 private:
  asio::awaitable<Result<void>> connect() {
    socket_.emplace(co_await asio::this_coro::executor);
    proto::WireHello hello;
    hello.set_cluster(shared_->self.cluster);
    hello.set_node(shared_->self.node.value);
    hello.set_incarnation(shared_->self.incarnation.value);
    hello.set_to_node(key_.first.value);
    hello.set_to_incarnation(key_.second.value);
    hello.set_stream(proto::WireHello::EXECUTE);
    Patience patience(*socket_, kConnectPatience);
    auto opened = co_await open_wire(*socket_, address_, std::move(hello));
    patience.good();
    if (!opened.ok()) co_return opened;
    const std::lock_guard lock(line_->mutex);
    if (line_->ended) co_return finished();
    line_->fd = socket_->native_handle();
    connected_ = true;
    co_return opened;
  }
  asio::awaitable<Result<void>> send(std::string bytes) {
    std::size_t taken = 0;
    {
      const std::lock_guard lock(line_->mutex);
      if (line_->ended) co_return finished();
      const ssize_t sent = ::send(line_->fd, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      taken = sent > 0 ? static_cast<std::size_t>(sent) : 0;
      (taken == bytes.size() ? line_->running : line_->sending) = true;
    }
    if (taken == bytes.size()) co_return Result<void>();
    const auto [error, count] =
        co_await asio::async_write(*socket_, asio::buffer(bytes.data() + taken, bytes.size() - taken), kTuple);
    if (error) co_return Error(Errc::kUnavailable, "the connection to the leaseholder ended: " + error.message());
    const std::lock_guard lock(line_->mutex);
    line_->sending = false;
    line_->running = true;
    if (std::exchange(line_->interrupt_waits, false)) line_->send_interrupt();
    co_return Result<void>();
  }
  void hang_up() {
    dead_ = true;
    const std::lock_guard lock(line_->mutex);
    line_->ended = true;
    line_->fd = -1;
    boost::system::error_code ignored;
    if (socket_) socket_->close(ignored);
  }

  const std::shared_ptr<Shared> shared_;
  const Shared::Key key_;
  const std::string address_;
  const std::shared_ptr<Line> line_ = std::make_shared<Line>();
  std::optional<Tcp::socket> socket_;
  FrameCutter cutter_;
  bool connected_{false};
  bool dead_{false};
};

RemoteChannels::RemoteChannels(Hello self) : shared_(std::make_shared<Shared>(std::move(self))) {}
RemoteChannels::~RemoteChannels() {
  stop();
}

std::unique_ptr<executor::Channel> RemoteChannels::open(NodeId node, Incarnation incarnation,
                                                        const std::string& address) {
  return std::make_unique<RemoteChannel>(shared_, node, incarnation, address);
}

void RemoteChannels::fence(NodeId node, Incarnation incarnation) {
  std::set<std::shared_ptr<Line>> lines;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->fenced.insert({node, incarnation});
    if (const auto it = shared_->open.find({node, incarnation}); it != shared_->open.end()) lines = it->second;
  }
  for (const auto& line : lines) line->end();
}

void RemoteChannels::stop() {
  std::vector<std::shared_ptr<Line>> lines;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->stopped = true;
    for (const auto& [key, open] : shared_->open) lines.insert(lines.end(), open.begin(), open.end());
  }
  for (const auto& line : lines) line->end();
}

}  // namespace outlast::rpc
