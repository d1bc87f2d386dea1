#include "cli/option_value.h"

#include <algorithm>
#include <sstream>

#include "base/parse.h"

namespace outlast::cli {
namespace {

Error invalid(const std::string& text) {
  return {Errc::kInvalidArgument, text};
}

Result<std::string> read_text(const Option& option, const std::string& word) {
  if (option.choices.empty() || std::ranges::find(option.choices, word) != option.choices.end()) return word;
  std::string allowed;
  for (const std::string& choice : option.choices) allowed += (allowed.empty() ? "" : ", ") + choice;
  return invalid("\"" + word + "\" is none of " + allowed);
}

Result<std::int64_t> read_integer(const Option& option, const std::string& word) {
  auto number = parse_int(word);
  if (number.ok() && (*number < option.min || *number > option.max))
    return invalid(word + " is not between " + std::to_string(option.min) + " and " + std::to_string(option.max));
  return number;
}

Result<double> read_real(const std::string& word) {
  char* end = nullptr;
  const double value = std::strtod(word.c_str(), &end);
  if (word.empty() || *end != '\0') return invalid("\"" + word + "\" is not a number, such as 1.5");
  return value;
}

Result<Bytes> read_bytes(const std::string& word) {
  ASSIGN_OR_RETURN(const std::uint64_t bytes, parse_bytes(word));
  return Bytes{bytes};
}

std::vector<std::string> split(const std::string& word) {
  std::vector<std::string> parts;
  std::istringstream in(word);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

template <class T>
Result<OptionValue> boxed(Result<T> value) {
  if (!value.ok()) return std::move(value).error();
  return OptionValue(std::in_place_type<T>, std::move(value).value());
}

/// One overload for each kind of target.
struct Read {
  const Option& option;
  const std::string& word;
  Result<OptionValue> operator()(std::string*) const { return boxed(read_text(option, word)); }
  Result<OptionValue> operator()(bool*) const { return boxed(parse_bool(word)); }
  Result<OptionValue> operator()(std::int64_t*) const { return boxed(read_integer(option, word)); }
  Result<OptionValue> operator()(double*) const { return boxed(read_real(word)); }
  Result<OptionValue> operator()(Duration*) const { return boxed(parse_duration(word)); }
  Result<OptionValue> operator()(Bytes*) const { return boxed(read_bytes(word)); }
  Result<OptionValue> operator()(std::vector<std::string>*) const { return OptionValue(split(word)); }
};

struct Show {
  std::string operator()(const std::string* text) const { return *text; }
  std::string operator()(const bool*) const { return ""; }
  std::string operator()(const std::int64_t* number) const { return std::to_string(*number); }
  std::string operator()(const double* number) const {
    std::ostringstream shown;
    shown << *number;
    return shown.str();
  }
  std::string operator()(const Duration* time) const { return format_duration(*time); }
  std::string operator()(const Bytes* bytes) const { return format_bytes(bytes->value); }
  std::string operator()(const std::vector<std::string>*) const { return ""; }
};

}  // namespace

Result<OptionValue> read_option(const Option& option, const std::string& word) {
  return std::visit(Read{option, word}, option.target);
}

void assign(const Option& option, OptionValue value) {
  std::visit(
      [&value]<class T>(T* target) {
        T* const read = std::get_if<T>(&value);
        OUTLAST_ASSERT(read != nullptr, "an option gets the value of another kind");
        *target = std::move(*read);
      },
      option.target);
}

std::string shown_default(const Option& option) {
  return std::visit(Show{}, option.target);
}

}  // namespace outlast::cli
