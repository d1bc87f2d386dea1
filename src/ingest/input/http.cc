#include "ingest/input/http.h"

#include <fcntl.h>

#include "ingest/input/http_loop.h"
#include "ingest/input/on_loop.h"

namespace outlast::ingest {

HttpInput::HttpInput(InputOptions options, Intake& intake)
    : options_(std::move(options)),
      socket_(options_.socket),
      stats_(std::make_shared<InputStats>()),
      loop_(std::make_shared<HttpLoop>(options_, intake, stats_)) {}

HttpInput::~HttpInput() {
  stop();
}

Result<void> HttpInput::start() {
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

StopReport HttpInput::stop() {
  if (thread_.joinable()) {
    boost::asio::post(loop_->context(), [loop = loop_] { loop->finish(); });
    thread_.join();
    socket_ = Fd();
    report_ = {stats_->records, 0, loop_->last_read(), {}};
  }
  return {report_.records, 0, report_.last_read, {}};
}

std::vector<MovedConnection> HttpInput::release_connections() {
  if (!thread_.joinable()) return {};
  on_loop(loop_->context(), [this] { loop_->stop_accepting(); });
  std::promise<std::vector<MovedConnection>> released;
  boost::asio::post(loop_->context(), [loop = loop_, &released] {
    loop->release([&released](std::vector<MovedConnection> all) { released.set_value(std::move(all)); });
  });
  return released.get_future().get();
}

void HttpInput::adopt(MovedConnection connection) {
  boost::asio::post(loop_->context(),
                    [loop = loop_, c = std::move(connection)]() mutable { loop->adopt(std::move(c)); });
}

std::uint16_t HttpInput::port() const {
  return socket_.get() < 0 ? 0 : bound_port(socket_.get());
}

}  // namespace outlast::ingest
