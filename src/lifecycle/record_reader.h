#pragma once
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>

namespace outlast::lifecycle {

/// Reads fields of a record and remembers the first that is missing or of the wrong kind. Lifetime: the object outlives
/// it.
class RecordReader {
 public:
  explicit RecordReader(const boost::json::object& object) : object_(object) {}
  template <class Number>
  Number number(const char* name) {
    const boost::json::value* value = object_.if_contains(name);
    boost::system::error_code problem;
    const auto out = value == nullptr ? Number{} : value->to_number<Number>(problem);
    if (value == nullptr || problem) fail(name);
    return problem ? Number{} : out;
  }
  std::string text(const char* name) {
    const boost::json::value* value = object_.if_contains(name);
    if (value != nullptr && value->is_string()) return std::string(value->get_string());
    fail(name);
    return {};
  }
  bool flag(const char* name) {
    const boost::json::value* value = object_.if_contains(name);
    if (value != nullptr && value->is_bool()) return value->get_bool();
    fail(name);
    return false;
  }
  void fail(const char* name) {
    if (wrong.empty()) wrong = name;
  }
  std::string wrong;

 private:
  const boost::json::object& object_;
};

}  // namespace outlast::lifecycle
