#include "server/restart_status.h"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <cmath>

namespace outlast::server {
namespace json = boost::json;

std::uint64_t number_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) return 0;
  if (const auto* number = value->if_uint64()) return *number;
  if (const auto* number = value->if_int64()) return *number < 0 ? 0 : static_cast<std::uint64_t>(*number);
  if (const auto* number = value->if_double(); number != nullptr && *number > 0 && *number < 1e18)
    return static_cast<std::uint64_t>(std::llround(*number));
  return 0;
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  const auto* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string() : std::string(*text);
}

json::object object_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  const auto* inner = value == nullptr ? nullptr : value->if_object();
  return inner == nullptr ? json::object() : *inner;
}

json::array array_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  const auto* inner = value == nullptr ? nullptr : value->if_array();
  return inner == nullptr ? json::array() : *inner;
}

std::uint64_t RestartStatus::receipt_id() const {
  return number_of(receipt, "id");
}

Result<RestartStatus> parse_restart_status(std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse(text, error);
  if (error || !value.is_object())
    return Error(Errc::kProtocolViolation, "the answer is no status of a restart: " + std::string(text.substr(0, 200)));
  RestartStatus status;
  status.all = value.get_object();
  status.state = text_of(status.all, "state");
  status.id = number_of(status.all, "id");
  const json::value* queued = status.all.if_contains("queued");
  status.queued = queued != nullptr && queued->is_bool() && queued->get_bool();
  status.accepted = number_of(status.all, "accepted");
  status.receipt = object_of(status.all, "receipt");
  return status;
}

bool restart_succeeded(const json::object& receipt) {
  const std::string outcome = text_of(receipt, "outcome");
  return outcome == "completed" || outcome == "recovered";
}

}  // namespace outlast::server
