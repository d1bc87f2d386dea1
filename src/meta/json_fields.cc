#include "meta/json_fields.h"

namespace outlast::meta {

Result<JsonFields> JsonFields::parse(std::string_view text, std::string_view what) {
  boost::system::error_code error;
  boost::json::value value = boost::json::parse({text.data(), text.size()}, error);
  if (error || !value.is_object())
    return Error(Errc::kCorrupt, std::string(what) + " in the metadata store is not a JSON object");
  return JsonFields(std::move(value.get_object()), what);
}

void JsonFields::wrong(std::string_view name) {
  if (wrong_field_.empty()) wrong_field_ = name;
}

std::string JsonFields::text(std::string_view name, std::string_view otherwise) {
  const auto* value = object_.if_contains({name.data(), name.size()});
  if (value != nullptr && value->is_string()) return {value->get_string().data(), value->get_string().size()};
  if (value != nullptr) wrong(name);
  return std::string(otherwise);
}

std::uint64_t JsonFields::number(std::string_view name, std::uint64_t otherwise) {
  const auto* value = object_.if_contains({name.data(), name.size()});
  if (value == nullptr) return otherwise;
  boost::system::error_code error;
  const auto number = value->to_number<std::uint64_t>(error);
  if (error) wrong(name);
  return error ? otherwise : number;
}

std::int64_t JsonFields::signed_number(std::string_view name, std::int64_t otherwise) {
  const auto* value = object_.if_contains({name.data(), name.size()});
  if (value == nullptr) return otherwise;
  boost::system::error_code error;
  const auto number = value->to_number<std::int64_t>(error);
  if (error) wrong(name);
  return error ? otherwise : number;
}

Result<void> JsonFields::check() const {
  if (wrong_field_.empty()) return {};
  return Error(Errc::kCorrupt, what_ + " in the metadata store has an unreadable field " + wrong_field_);
}

}  // namespace outlast::meta
