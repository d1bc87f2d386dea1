#include "ingest/input/door.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

namespace outlast::ingest {
using boost::asio::ip::tcp;
using boost::system::error_code;

void Door::assign() {
  error_code ignored;
  acceptor.assign(tcp::v6(), fcntl(socket_.get(), F_DUPFD_CLOEXEC, 0), ignored);
}

void Door::close(const std::string& input, const std::function<void(tcp::socket)>& accepted) {
  closing = true;
  if (!acceptor.is_open()) return;
  error_code error;
  acceptor.non_blocking(true, error);
  for (;;) {
    tcp::socket socket = acceptor.accept(error);
    if (error) break;
    accepted(std::move(socket));
  }
  if (auto refused = refuse_senders(socket_.get()); !refused.ok())
    spdlog::error("input {}: {}", input, refused.error().message);
  close_acceptor();
}

void Door::reopen(const std::string& input) {
  closing = done = false;
  if (socket_.get() < 0) return;
  if (auto admitted = admit_senders(socket_.get()); !admitted.ok())
    return spdlog::error("input {}: {}", input, admitted.error().message);
  assign();
}

}  // namespace outlast::ingest
