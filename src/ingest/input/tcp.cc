#include "ingest/input/tcp.h"

#include <boost/asio/post.hpp>

#include "ingest/input/on_loop.h"

namespace outlast::ingest {
TcpInput::TcpInput(InputOptions options, Intake& intake) : LoopInput(std::move(options), intake) {}

TcpInput::~TcpInput() {
  stop();
}

StopReport TcpInput::stop() {
  if (!thread_.joinable()) return {report_.records, 0, report_.read_until, {}};
  StopReport report = on_loop(loop_->context(), [this] { return loop_->finish(); });
  thread_.join();
  socket_ = Fd();
  report_ = {report.records, 0, report.read_until, {}};
  return report;
}

std::vector<MovedConnection> TcpInput::release_connections(Later /*later*/) {
  if (!thread_.joinable()) return {};
  on_loop(loop_->context(), [this] { loop_->door().stop_accepting(); });
  return on_loop(loop_->context(), [this] { return loop_->release(); });
}

}  // namespace outlast::ingest
