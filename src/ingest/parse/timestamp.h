#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace outlast::ingest {

/// Times in records, as microseconds since 1970 UTC. Pure: neither clock nor time zone of this machine is read.

/// "2003-10-11T22:14:15.003Z", "…-07:00", with any number of digits behind the point. The whole text.
std::optional<std::int64_t> parse_rfc3339(std::string_view text);
/// "2003-10-11T22:14:15.003000Z"; the digits behind the point only when they say something.
std::string format_rfc3339(std::int64_t micros);

/// A timestamp at the front of an RFC 3164 message: "Oct 11 22:14:15", "Oct  1 22:14:15", with a year in front of
/// ("2003 Oct 11 22:14:15") or behind the day ("Oct 11 2003 22:14:15") or, as RFC 3164's own example, behind the time
/// and a zone's name ("Aug 24 05:34:00 CST 1987"), with ".123456" behind the seconds, or RFC 3339's form.
struct FrontTimestamp {
  std::int64_t micros{0};
  std::size_t length{0};  ///< Of what was read.
};
/// Without a year it is the one that puts the time next to `near_micros`. Without an offset the time is one at
/// `offset_seconds` east of UTC; a zone's name is not looked up.
std::optional<FrontTimestamp> parse_front_timestamp(std::string_view text, std::int64_t near_micros,
                                                    std::int32_t offset_seconds);

/// "+02:00", "-0730", "Z", "UTC" as seconds east of UTC.
std::optional<std::int32_t> parse_utc_offset(std::string_view text);

}  // namespace outlast::ingest
