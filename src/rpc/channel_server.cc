// A gateway's session elsewhere uses a channel of this node's executor: the server's end of an EXECUTE stream.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "rpc/remote_channel.h"
#include "rpc/wire_stream.h"

namespace outlast::rpc {
namespace asio = boost::asio;
using proto::ExecReply;
using proto::ExecRequest;
using proto::ExecUp;

namespace {

/// Everything on the socket's executor, but for close().
class ServedChannel final : public Connection, public std::enable_shared_from_this<ServedChannel> {
 public:
  ServedChannel(asio::ip::tcp::socket socket, std::unique_ptr<executor::Channel> channel, std::function<void()> ended)
      : executor_(socket.get_executor()),
        stream_(std::make_shared<WireStream>(std::move(socket), WireStream::Sends::kAtOnce, std::size_t{8} << 10)),
        channel_(std::move(channel)),
        ended_(std::move(ended)) {}
  ~ServedChannel() override {
    channel_.reset();
    ended_();
  }
  void start() {
    asio::post(executor_, [self = shared_from_this()] {
      self->stream_->start([self](WireStream::Frames frames) { return self->on_frames(frames); },
                           [self](const Error&) { self->channel_->interrupt(); });
    });
  }
  void close() override { stream_->close(); }

 private:
  bool on_frames(WireStream::Frames frames) {
    for (const Frame& frame : frames) {
      ExecUp up;
      if (!up.ParseFromArray(frame.bytes.data(), static_cast<int>(frame.bytes.size()))) return false;
      if (up.interrupt()) channel_->interrupt();
      if (!up.has_request()) continue;
      if (std::exchange(executing_, true)) return false;  // a request came before the answer to the one before it
      asio::co_spawn(executor_, run(shared_from_this(), std::move(*up.mutable_request())), asio::detached);
    }
    return true;
  }
  static asio::awaitable<void> run(std::shared_ptr<ServedChannel> self, ExecRequest request) {
    const ExecReply reply = co_await self->channel_->call(std::move(request));
    self->executing_ = false;
    self->stream_->send(reply);
  }

  const asio::any_io_executor executor_;
  const std::shared_ptr<WireStream> stream_;
  std::unique_ptr<executor::Channel> channel_;
  const std::function<void()> ended_;
  bool executing_{false};
};

}  // namespace

std::shared_ptr<Connection> serve_channel(asio::ip::tcp::socket socket, std::unique_ptr<executor::Channel> channel,
                                          std::function<void()> ended) {
  auto served = std::make_shared<ServedChannel>(std::move(socket), std::move(channel), std::move(ended));
  served->start();
  return served;
}

}  // namespace outlast::rpc
