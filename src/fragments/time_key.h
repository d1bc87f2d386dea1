#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fragments/scheme.h"

/// Calendar arithmetic over the stored forms of dates and timestamps (src/sql/types.h), all UTC, years 0001 … 9999.
/// Days and months by std::chrono's proleptic Gregorian calendar; no leap seconds, no time zones.
namespace outlast::fragments {

/// Microseconds since 1970; nullopt: not exactly the stored form.
std::optional<std::int64_t> parse_stored_time(std::string_view text, bool date);
/// The stored form: digits of a second only where there are any.
std::string format_stored_time(std::int64_t micros, bool date);

Slot slot_at(const Interval& interval, std::int64_t micros);
/// The first microsecond of a slot.
std::int64_t slot_start(const Interval& interval, Slot slot);
/// The instant that lies `interval` before `micros`; of a month too short, its last day.
std::int64_t before(std::int64_t micros, const Interval& interval);

}  // namespace outlast::fragments
