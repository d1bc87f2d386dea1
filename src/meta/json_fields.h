#pragma once
#include <boost/json.hpp>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace outlast::meta {

/// Reads a stored JSON object: unknown fields of a newer version are ignored, absent ones take the given value, and
/// the first field of a wrong kind makes the whole record unreadable (kCorrupt).
/// Thread-safety: none; a short-lived value.
class JsonFields {
 public:
  static Result<JsonFields> parse(std::string_view text, std::string_view what);

  std::string text(std::string_view name, std::string_view otherwise = {});
  std::uint64_t number(std::string_view name, std::uint64_t otherwise = 0);
  std::int64_t signed_number(std::string_view name, std::int64_t otherwise = 0);
  /// To be asked last.
  Result<void> check() const;
  const boost::json::object& object() const { return object_; }

 private:
  JsonFields(boost::json::object object, std::string_view what) : object_(std::move(object)), what_(what) {}
  void wrong(std::string_view name);
  boost::json::object object_;
  std::string what_, wrong_field_;
};

}  // namespace outlast::meta
