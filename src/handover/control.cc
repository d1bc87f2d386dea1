#include "handover/control.h"

#include <cerrno>
#include <charconv>
#include <cstring>

#include "handover/fd_passing.h"

namespace outlast::handover {
namespace {
using Kind = ControlMessage::Kind;
constexpr std::pair<Kind, std::string_view> kNames[] = {{Kind::kIncarnation, "incarnation"},
                                                        {Kind::kReady, "ready"},
                                                        {Kind::kStop, "stop"},
                                                        {Kind::kFatal, "fatal"},
                                                        {Kind::kStatus, "status"},
                                                        {Kind::kHandOver, "hand_over"},
                                                        {Kind::kState, "state"},
                                                        {Kind::kOwned, "owned"},
                                                        {Kind::kRestart, "restart"},
                                                        {Kind::kRestartStatus, "restart_status"},
                                                        {Kind::kPlan, "plan"},
                                                        {Kind::kReload, "reload"},
                                                        {Kind::kEndSourceOnly, "end_source_only"},
                                                        {Kind::kSourceOnly, "source_only"},
                                                        {Kind::kLeaveFrontend, "leave_frontend"},
                                                        {Kind::kListener, "listener"}};
constexpr std::size_t kPacketMax = 64 * 1024;

template <class Id>
void read_id(std::string_view text, Id& id) {
  std::from_chars(text.data(), text.data() + text.size(), id.value);
}
}  // namespace

std::string encode(const ControlMessage& message) {
  std::string packet = "unknown";
  for (const auto& [kind, name] : kNames)
    if (kind == message.kind) packet = name;
  packet.append(" node=").append(message.node.to_string());
  packet.append(" incarnation=").append(message.incarnation.to_string());
  packet.append(" text=").append(message.text.substr(0, kPacketMax - 256));  // last: it may hold spaces
  return packet;
}

ControlMessage decode_control(std::string_view packet) {
  ControlMessage message;
  const auto word = [&packet] {
    const std::string_view head = packet.substr(0, packet.find(' '));
    packet.remove_prefix(std::min(packet.size(), head.size() + 1));
    return head;
  };
  const std::string_view name = word();
  for (const auto& [kind, known] : kNames)
    if (known == name) message.kind = kind;
  while (!packet.empty()) {
    if (packet.starts_with("text=")) {
      message.text = packet.substr(5);
      break;
    }
    const std::string_view field = word();
    if (field.starts_with("node=")) read_id(field.substr(5), message.node);
    if (field.starts_with("incarnation=")) read_id(field.substr(12), message.incarnation);
  }
  return message;
}

Result<void> send_control(int fd, const ControlMessage& message) {
  const std::string packet = encode(message);
  if (send_with_fd(fd, packet, message.fd) == static_cast<ssize_t>(packet.size())) return {};
  return Error(Errc::kUnavailable, std::string("the control channel does not take a message: ") + std::strerror(errno));
}

Result<std::optional<ControlMessage>> receive_control(int fd) {
  std::string packet(kPacketMax, '\0');
  int passed = -1;
  const ssize_t n = receive_with_fd(fd, packet.data(), packet.size(), passed);
  if (n > 0) {
    packet.resize(static_cast<std::size_t>(n));
    ControlMessage message = decode_control(packet);
    message.fd = passed;
    return std::optional(std::move(message));
  }
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return std::optional<ControlMessage>();
  return Error(Errc::kUnavailable, "the other side of the control channel is gone");
}

}  // namespace outlast::handover
