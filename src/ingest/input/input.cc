#include "ingest/input/input.h"

#include "ingest/input/http.h"
#include "ingest/input/tcp.h"
#include "ingest/input/udp.h"

namespace outlast::ingest {

std::unique_ptr<Input> make_input(InputType type, InputOptions options, Intake& intake) {
  switch (type) {
    case InputType::kUdp:
      return std::make_unique<UdpInput>(std::move(options), intake);
    case InputType::kTcp:
      return std::make_unique<TcpInput>(std::move(options), intake);
    case InputType::kHttp:
      return std::make_unique<HttpInput>(std::move(options), intake);
  }
  return nullptr;
}

}  // namespace outlast::ingest
