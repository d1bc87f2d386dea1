#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace outlast::cli {

// The records of a test load: what a sender writes, and how it is found again in what was stored. Pure.

/// Ways in which a record reaches a node; each has an input of its own.
enum class RecordKind : std::uint8_t { kUdp, kSyslogUdp, kTcp, kSyslogTcp, kHttp };
inline constexpr std::array kRecordKinds = {RecordKind::kUdp, RecordKind::kSyslogUdp, RecordKind::kTcp,
                                            RecordKind::kSyslogTcp, RecordKind::kHttp};
/// "udp", "syslog_udp", …: the name of its input too.
const char* to_string(RecordKind kind);
inline bool is_datagram(RecordKind kind) {
  return kind == RecordKind::kUdp || kind == RecordKind::kSyslogUdp;
}

/// Which record this is: every sender counts its own from 0.
struct RecordId {
  int sender{0};
  std::uint64_t number{0};
  friend bool operator==(const RecordId&, const RecordId&) = default;
};

/// As it goes over the wire: a datagram, a line, a counted frame (RFC 6587), a line of NDJSON.
std::string framed(RecordKind kind, RecordId id);
/// The record that a stored text carries; half of one is none.
std::optional<RecordId> find_record(std::string_view text);

}  // namespace outlast::cli
