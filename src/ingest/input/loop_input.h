#pragma once
#include <fcntl.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <memory>
#include <thread>
#include <utility>

#include "ingest/input/input.h"

namespace outlast::ingest {

/// What the inputs that serve connections on a thread of their own have in common. `Loop` runs the thread; how it ends
/// and gives connections away is the input's.
template <class Loop>
class LoopInput : public Input {
 public:
  LoopInput(InputOptions options, Intake& intake)
      : options_(std::move(options)),
        socket_(options_.socket),
        stats_(std::make_shared<InputStats>()),
        loop_(std::make_shared<Loop>(options_, intake, stats_)) {}

  Result<void> start() override {
    if (socket_.get() < 0) {
      ASSIGN_OR_RETURN(socket_, open_socket(options_.listen, false));
    }
    fcntl(socket_.get(), F_SETFL, fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
    if (!options_.closed) TRY(admit_senders(socket_.get()));
    const int fd = fcntl(socket_.get(), F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return Error(Errc::kUnavailable, "too many open files; raise the limit (ulimit -n) and start again");
    boost::asio::post(loop_->context(), [loop = loop_, fd] { loop->listen(fd); });
    if (options_.closed) close();
    thread_ = std::thread([loop = loop_] { loop->run(); });
    return {};
  }
  void close() override {
    if (closing_.exchange(true)) return;
    loop_->door().done = false;
    boost::asio::post(loop_->context(), [loop = loop_] { loop->close(); });
  }
  void reopen() override {
    if (!closing_.exchange(false)) return;
    boost::asio::post(loop_->context(), [loop = loop_] { loop->reopen(); });
  }
  bool is_closed() const override { return closing_ && loop_->door().done; }
  void adopt(MovedConnection connection) override {
    boost::asio::post(loop_->context(),
                      [loop = loop_, c = std::move(connection)]() mutable { loop->adopt(std::move(c)); });
  }
  InputCounters counters() const override { return stats_->now(); }
  std::uint16_t port() const override { return socket_.get() < 0 ? 0 : bound_port(socket_.get()); }

 protected:
  InputOptions options_;
  Fd socket_;
  std::shared_ptr<InputStats> stats_;
  std::shared_ptr<Loop> loop_;
  std::thread thread_;
  std::atomic<bool> closing_{false};
  StopReport report_;
};

}  // namespace outlast::ingest
