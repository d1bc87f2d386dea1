#include "loads/label.h"

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

namespace outlast::loads {
namespace json = boost::json;

namespace {
constexpr std::array<std::string_view, 5> kStates{"PREPARING", "PREPARED", "COMMITTED", "DONE", "ABORTED"};
}  // namespace

std::string_view to_string(State state) {
  return kStates[static_cast<std::size_t>(state)];
}

std::optional<State> state_from(std::string_view text) {
  const auto* const at = std::ranges::find(kStates, text);
  if (at == kStates.end()) return std::nullopt;
  return static_cast<State>(at - kStates.begin());
}

std::string encode(const std::vector<Part>& parts) {
  json::array list;
  for (const Part& part : parts)
    list.push_back(
        {{"range", part.range.value}, {"batches", part.batches}, {"rows", part.rows}, {"checksum", part.checksum}});
  return json::serialize(list);
}

Result<std::vector<Part>> decode_parts(std::string_view text) {
  boost::system::error_code error;
  const json::value parsed = json::parse(text, error);
  if (error || !parsed.is_array()) return Error(Errc::kCorrupt, "the partitions of a load's label cannot be read");
  std::vector<Part> parts;
  for (const json::value& each : parsed.get_array()) {
    const json::object* const object = each.if_object();
    const auto number = [object](const char* name) -> std::int64_t {
      const json::value* const value = object == nullptr ? nullptr : object->if_contains(name);
      return value != nullptr && value->is_number() ? value->to_number<std::int64_t>() : 0;
    };
    if (number("range") <= 0) return Error(Errc::kCorrupt, "a partition of a load's label names no range");
    parts.push_back(
        {RangeId(static_cast<std::uint64_t>(number("range"))), number("batches"), number("rows"), number("checksum")});
  }
  return parts;
}

Result<void> check_filtered(const Counts& counts, double ratio, const std::string& first_reason) {
  if (static_cast<double>(counts.filtered) <= ratio * static_cast<double>(counts.total)) return {};
  return Error(Errc::kInvalidArgument, "too many filtered rows: " + std::to_string(counts.filtered) + " of " +
                                           std::to_string(counts.total) +
                                           " do not fit the table; correct them, or allow more with max_filter_ratio" +
                                           (first_reason.empty() ? std::string() : "; the first: " + first_reason));
}

Reuse judge_reuse(const Label& label, const Now& now) {
  switch (label.state) {
    case State::kCommitted:
    case State::kDone:
      return Reuse::kExists;
    case State::kAborted:
      return Reuse::kFree;
    case State::kPreparing:
      return now.owner_gone || now.micros >= label.expires ? Reuse::kAbortFirst : Reuse::kInProgress;
    case State::kPrepared: {  // without an owner its client may commit it through any node
      const bool left = !label.owner.empty() && now.owner_gone;
      return left || now.micros >= label.expires ? Reuse::kAbortFirst : Reuse::kInProgress;
    }
  }
  return Reuse::kInProgress;
}

Duty duty_of(const Label& label, const Now& now, const KeeperTimes& times) {
  const bool old = now.micros >= label.changed + times.keep;
  switch (label.state) {
    case State::kPreparing:
    case State::kPrepared:
      return judge_reuse(label, now) == Reuse::kAbortFirst ? Duty::kAbort : Duty::kNone;
    case State::kCommitted:
      return now.owner_gone || now.micros >= label.changed + times.apply_grace ? Duty::kApply : Duty::kNone;
    case State::kAborted:
      if (!label.swept) return Duty::kSweep;
      return old ? Duty::kForget : Duty::kNone;
    case State::kDone:
      return old ? Duty::kForget : Duty::kNone;
  }
  return Duty::kNone;
}

}  // namespace outlast::loads
