// Server side of Peer.Execute: a gateway's session elsewhere uses a LocalChannel here.
#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/strand.hpp>
#include <optional>

#include "rpc/remote_channel.h"

namespace outlast::rpc {
namespace asio = boost::asio;
using proto::ExecReply;
using proto::ExecRequest;
using proto::ExecUp;

namespace {

class ServerStream final : public grpc::ServerBidiReactor<ExecUp, ExecReply>,
                           public std::enable_shared_from_this<ServerStream> {
 public:
  ServerStream(std::unique_ptr<executor::Channel> channel, asio::any_io_executor executor)
      : channel_(std::move(channel)), executor_(asio::make_strand(executor)) {}
  void start() {
    keep_ = shared_from_this();
    StartSendInitialMetadata();
    StartRead(&incoming_);
  }

  void OnReadDone(bool ok) override {
    if (!ok) return end(grpc::Status::OK);
    if (incoming_.has_request()) {
      {
        const std::lock_guard lock(mutex_);
        if (executing_ || ended_)
          return end_locked(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                                         "a request came before the answer to the one before it"));
        executing_ = true;
      }
      asio::co_spawn(executor_, run(shared_from_this(), std::move(*incoming_.mutable_request())), asio::detached);
    } else if (incoming_.interrupt()) {
      channel_->interrupt();
    }
    incoming_.Clear();
    StartRead(&incoming_);
  }
  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    if (!ok)
      end_locked(grpc::Status::OK);
    else if (next_answer_ && !ended_)
      write(std::move(*std::exchange(next_answer_, std::nullopt)));
    else
      finish_if_idle();
  }
  void OnCancel() override { end(grpc::Status::CANCELLED); }
  void OnDone() override {
    // The channel may roll a transaction back: not on gRPC's thread.
    asio::post(executor_, [self = std::move(keep_)] {});
  }

 private:
  static asio::awaitable<void> run(std::shared_ptr<ServerStream> self, ExecRequest request) {
    ExecReply reply = co_await self->channel_->call(std::move(request));
    self->answer(std::move(reply));
  }
  /// The client may have read an answer and sent its next request before gRPC tells us that the write is done: that
  /// request's answer then waits for it.
  void answer(ExecReply reply) {
    const std::lock_guard lock(mutex_);
    executing_ = false;
    if (ended_)
      finish_if_idle();
    else if (writing_)
      next_answer_ = std::move(reply);
    else
      write(std::move(reply));
  }
  void write(ExecReply reply) {
    outgoing_ = std::move(reply);
    writing_ = true;
    StartWrite(&outgoing_);
  }
  void end(grpc::Status status) {
    channel_->interrupt();
    const std::lock_guard lock(mutex_);
    end_locked(std::move(status));
  }
  void end_locked(grpc::Status status) {
    if (!ended_) final_ = std::move(status);
    ended_ = true;
    finish_if_idle();
  }
  void finish_if_idle() {
    if (!ended_ || finished_ || executing_ || writing_) return;
    finished_ = true;
    Finish(final_);
  }

  std::unique_ptr<executor::Channel> channel_;
  asio::any_io_executor executor_;
  std::shared_ptr<ServerStream> keep_;
  std::mutex mutex_;
  ExecUp incoming_;
  ExecReply outgoing_;
  grpc::Status final_;
  std::optional<ExecReply> next_answer_;
  bool executing_{false};  ///< From the request's arrival to its answer.
  bool writing_{false};
  bool ended_{false}, finished_{false};
};

class Refusal final : public grpc::ServerBidiReactor<ExecUp, ExecReply> {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

grpc::ServerBidiReactor<ExecUp, ExecReply>* serve_channel(std::unique_ptr<executor::Channel> channel,
                                                          asio::any_io_executor executor) {
  auto stream = std::make_shared<ServerStream>(std::move(channel), std::move(executor));
  stream->start();
  return stream.get();
}

grpc::ServerBidiReactor<ExecUp, ExecReply>* refuse_channel(const grpc::Status& status) {
  return new Refusal(status);
}

}  // namespace outlast::rpc
