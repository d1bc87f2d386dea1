#include "sql/pgwire/messages.h"

#include <algorithm>

#include "sql/pgwire/cursor.h"

namespace outlast::sql::pgwire {
namespace {
constexpr std::uint32_t kCancelCode = (1234u << 16) | 5678u;
constexpr std::uint32_t kSslCode = (1234u << 16) | 5679u;
constexpr std::uint32_t kGssCode = (1234u << 16) | 5680u;

Error malformed(std::string_view what) {
  return Error(Errc::kProtocolViolation, "invalid " + std::string(what) + " message: its fields do not fit its length");
}

Result<Message> parse_parse(Cursor in) {
  Parse m;
  m.name = in.cstring();
  m.text = in.cstring();
  const int count = in.u16();
  for (int i = 0; i < count && in.ok(); ++i) m.parameter_types.push_back(in.u32());
  if (!in.finished()) return malformed("Parse");
  return Message(std::move(m));
}

std::vector<std::int16_t> formats(Cursor& in) {
  std::vector<std::int16_t> out;
  const int count = in.u16();
  for (int i = 0; i < count && in.ok(); ++i) out.push_back(static_cast<std::int16_t>(in.u16()));
  return out;
}

Result<Message> parse_bind(Cursor in) {
  Bind m;
  m.portal = in.cstring();
  m.statement = in.cstring();
  m.parameter_formats = formats(in);
  const int count = in.u16();
  for (int i = 0; i < count && in.ok(); ++i) {
    const auto length = static_cast<std::int32_t>(in.u32());
    if (length == -1) {
      m.parameters.emplace_back(std::nullopt);
    } else if (length < 0) {
      return malformed("Bind");
    } else {
      m.parameters.emplace_back(std::string(in.bytes(static_cast<std::size_t>(length))));
    }
  }
  m.result_formats = formats(in);
  if (!in.finished()) return malformed("Bind");
  return Message(std::move(m));
}

template <class M>
Result<Message> parse_target(Cursor in, std::string_view what) {
  M m;
  m.kind = static_cast<char>(in.u8());
  m.name = in.cstring();
  if (!in.finished()) return malformed(what);
  if (m.kind != 'S' && m.kind != 'P')
    return Error(Errc::kProtocolViolation, "invalid " + std::string(what) + " message subtype " +
                                               std::to_string(static_cast<unsigned char>(m.kind)) + ": use 'S' or 'P'");
  return Message(std::move(m));
}

Result<Message> parse_execute(Cursor in) {
  Execute m;
  m.portal = in.cstring();
  const auto rows = static_cast<std::int32_t>(in.u32());
  m.max_rows = rows > 0 ? static_cast<std::uint32_t>(rows) : 0;
  if (!in.finished()) return malformed("Execute");
  return Message(std::move(m));
}

template <class M>
Result<Message> parse_text(Cursor in, std::string M::* field, std::string_view what) {
  M m;
  m.*field = in.cstring();
  if (!in.finished()) return malformed(what);
  return Message(std::move(m));
}

template <class M>
Result<Message> parse_empty(Cursor in, std::string_view what) {
  if (!in.finished()) return malformed(what);
  return Message(M{});
}
}  // namespace

std::optional<std::string> StartupMessage::parameter(std::string_view name) const {
  for (auto it = parameters.rbegin(); it != parameters.rend(); ++it)
    if (it->first == name) return it->second;
  return std::nullopt;
}

std::optional<std::size_t> startup_length(std::string_view first_bytes) {
  const std::size_t length = Cursor(first_bytes).u32();
  if (length < 8 || length > kStartupBytesMax) return std::nullopt;
  return length;
}

Result<StartupPacket> parse_startup(std::string_view body) {
  Cursor in(body);
  const std::uint32_t code = in.u32();
  if (!in.ok()) return Error(Errc::kProtocolViolation, "invalid length of startup packet");
  if (code == kSslCode && in.finished()) return StartupPacket(SslRequest{});
  if (code == kGssCode && in.finished()) return StartupPacket(GssEncRequest{});
  if (code == kCancelCode) {
    CancelRequest cancel;
    cancel.pid = static_cast<std::int32_t>(in.u32());
    if (!in.ok() || in.left() == 0 || in.left() > kCancelKeyBytesMax)
      return Error(Errc::kProtocolViolation, "invalid length of cancel request");
    cancel.key = std::string(in.bytes(in.left()));
    return StartupPacket(std::move(cancel));
  }
  StartupMessage startup;
  startup.major = static_cast<std::uint16_t>(code >> 16);
  startup.minor = static_cast<std::uint16_t>(code & 0xffff);
  if (startup.major != 3) return StartupPacket(std::move(startup));
  while (in.ok() && in.left() > 1) {
    std::string name(in.cstring());
    if (name.empty()) break;
    std::string value(in.cstring());
    startup.parameters.emplace_back(std::move(name), std::move(value));
  }
  if (in.u8() != 0 || !in.finished())
    return Error(Errc::kProtocolViolation, "invalid startup packet layout: expected terminator as last byte");
  return StartupPacket(std::move(startup));
}

bool is_frontend_type(char type) {
  return std::string_view("QPBDCEHSXdcfpF").find(type) != std::string_view::npos && type;
}
bool is_extended_type(char type) {
  return std::string_view("PBDCEH").find(type) != std::string_view::npos && type;
}

Result<Message> parse_message(const Frame& frame) {
  const Cursor in(frame.body);
  switch (frame.type) {
    case 'Q':
      return parse_text<Query>(in, &Query::text, "Query");
    case 'P':
      return parse_parse(in);
    case 'B':
      return parse_bind(in);
    case 'D':
      return parse_target<Describe>(in, "Describe");
    case 'C':
      return parse_target<Close>(in, "Close");
    case 'E':
      return parse_execute(in);
    case 'H':
      return parse_empty<Flush>(in, "Flush");
    case 'S':
      return parse_empty<Sync>(in, "Sync");
    case 'X':
      return Message(Terminate{});
    case 'd':
      return Message(CopyData{std::string(frame.body)});
    case 'c':
      return parse_empty<CopyDone>(in, "CopyDone");
    case 'f':
      return parse_text<CopyFail>(in, &CopyFail::reason, "CopyFail");
    case 'p':
      return Message(PasswordMessage{std::string(frame.body)});
    case 'F':
      return Message(FunctionCall{});
    default:
      return Error(Errc::kProtocolViolation,
                   "invalid frontend message type " + std::to_string(static_cast<unsigned char>(frame.type)));
  }
}
}  // namespace outlast::sql::pgwire
