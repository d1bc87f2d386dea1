// Bytes of a strange worker: frames of a handover in pieces, control packets.
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "handover/channel.h"
#include "handover/control.h"

namespace {
using namespace outlast::handover;

void feed_channel(std::string_view bytes, std::size_t cut) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return;
  HandoverChannel channel(pair[0]);
  for (const std::string_view part : {bytes.substr(0, cut), bytes.substr(cut)}) {
    (void)!send(pair[1], part.data(), part.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    for (;;) {
      auto received = channel.receive();
      if (!received.ok() || !received->has_value()) break;
      if ((*received)->fd >= 0) close((*received)->fd);
    }
  }
  close(pair[1]);
  (void)channel.receive();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  (void)decode_control(bytes);
  if (size > 0) feed_channel(bytes.substr(1), data[0] % size);
  return 0;
}
