#include "cli/record.h"

#include <spdlog/fmt/fmt.h>

#include <charconv>

namespace outlast::cli {
namespace {
constexpr std::string_view kMark = "record=";

/// The number that `text` begins with, cut off together with the sign behind it.
template <class Number>
std::optional<Number> cut_number(std::string_view& text, char behind) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto used = static_cast<std::size_t>(end - text.data());
  if (error != std::errc{} || used >= text.size() || text[used] != behind) return std::nullopt;
  text.remove_prefix(used + 1);
  return value;
}
}  // namespace

const char* to_string(RecordKind kind) {
  constexpr const char* kNames[] = {"udp", "syslog_udp", "tcp", "syslog_tcp", "http"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::string framed(RecordKind kind, RecordId id) {
  // The semicolon tells a whole number from the beginning of one.
  const std::string text = fmt::format("{}{}/{}; the lights are on", kMark, id.sender, id.number);
  const auto syslog = [&] { return fmt::format("<134>1 - demo sender{} - - - {}", id.sender, text); };
  switch (kind) {
    case RecordKind::kUdp:
      return text;
    case RecordKind::kSyslogUdp:
      return syslog();
    case RecordKind::kTcp:
      return text + "\n";
    case RecordKind::kSyslogTcp: {
      const std::string record = syslog();
      return std::to_string(record.size()) + " " + record;
    }
    case RecordKind::kHttp:
      break;
  }
  return "{\"message\":\"" + text + "\"}\n";
}

std::optional<RecordId> find_record(std::string_view text) {
  const auto at = text.find(kMark);
  if (at == std::string_view::npos) return std::nullopt;
  text.remove_prefix(at + kMark.size());
  const auto sender = cut_number<int>(text, '/');
  if (!sender || *sender < 0) return std::nullopt;
  const auto number = cut_number<std::uint64_t>(text, ';');
  if (!number) return std::nullopt;
  return RecordId{*sender, *number};
}

}  // namespace outlast::cli
