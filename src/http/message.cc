#include <cstdio>

#include "http/server.h"

namespace outlast::http {
namespace {
std::string json_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    if (static_cast<unsigned char>(c) < 0x20) {
      char code[8];
      std::snprintf(code, sizeof code, "\\u%04x", c);
      out.append(code);
    } else {
      out.push_back(c);
    }
  }
  return out + "\"";
}
}  // namespace

const std::string& Request::header(const std::string& name) const {
  static const std::string kNone;
  const auto it = headers.find(name);
  return it == headers.end() ? kNone : it->second;
}

Response Response::error(const Error& error) {
  return json("{\"code\":" + json_quote(facts(error.code).name) + ",\"message\":" + json_quote(error.message) + "}\n",
              facts(error.code).http);
}

}  // namespace outlast::http
