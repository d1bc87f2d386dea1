#include "ingest/input/http.h"

#include "ingest/input/on_loop.h"

namespace outlast::ingest {

HttpInput::HttpInput(InputOptions options, Intake& intake) : LoopInput(std::move(options), intake) {}

HttpInput::~HttpInput() {
  stop();
}

StopReport HttpInput::stop() {
  if (thread_.joinable()) {
    boost::asio::post(loop_->context(), [loop = loop_] { loop->finish(); });
    thread_.join();
    socket_ = Fd();
    report_ = {stats_->records, 0, loop_->last_read(), {}};
  }
  return {report_.records, 0, report_.read_until, {}};
}

std::vector<MovedConnection> HttpInput::release_connections(Later later) {
  if (!thread_.joinable()) return {};
  on_loop(loop_->context(), [this] { loop_->door().stop_accepting(); });
  std::promise<std::vector<MovedConnection>> released;
  boost::asio::post(loop_->context(), [loop = loop_, &released, later = std::move(later)]() mutable {
    loop->release([&released](std::vector<MovedConnection> all) { released.set_value(std::move(all)); },
                  std::move(later));
  });
  return released.get_future().get();
}

}  // namespace outlast::ingest
