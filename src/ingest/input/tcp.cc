#include "ingest/input/tcp.h"

#include <fcntl.h>

#include <boost/asio/post.hpp>

#include "ingest/input/on_loop.h"
#include "ingest/input/tcp_loop.h"

namespace outlast::ingest {
TcpInput::TcpInput(InputOptions options, Intake& intake)
    : options_(std::move(options)),
      socket_(options_.socket),
      stats_(std::make_shared<InputStats>()),
      loop_(std::make_shared<TcpLoop>(options_, intake, stats_)) {}

TcpInput::~TcpInput() {
  stop();
}

Result<void> TcpInput::start() {
  if (socket_.get() < 0) {
    ASSIGN_OR_RETURN(socket_, open_socket(options_.listen, false));
  }
  fcntl(socket_.get(), F_SETFL, fcntl(socket_.get(), F_GETFL) | O_NONBLOCK);
  const int fd = fcntl(socket_.get(), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) return Error(Errc::kUnavailable, "too many open files; raise the limit (ulimit -n) and start again");
  boost::asio::post(loop_->context(), [loop = loop_, fd] { loop->listen(fd); });
  thread_ = std::thread([loop = loop_] { loop->run(); });
  return {};
}

StopReport TcpInput::stop() {
  if (!thread_.joinable()) return {report_.records, 0, report_.last_read, {}};
  StopReport report = on_loop(loop_->context(), [this] { return loop_->finish(); });
  thread_.join();
  socket_ = Fd();
  report_ = {report.records, 0, report.last_read, {}};
  return report;
}

std::vector<MovedConnection> TcpInput::release_connections() {
  if (!thread_.joinable()) return {};
  on_loop(loop_->context(), [this] { loop_->stop_accepting(); });
  return on_loop(loop_->context(), [this] { return loop_->release(); });
}

void TcpInput::adopt(MovedConnection connection) {
  boost::asio::post(loop_->context(),
                    [loop = loop_, c = std::move(connection)]() mutable { loop->adopt(std::move(c)); });
}

std::uint16_t TcpInput::port() const {
  return socket_.get() < 0 ? 0 : bound_port(socket_.get());
}

}  // namespace outlast::ingest
