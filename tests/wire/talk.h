#pragma once
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include "tests/wire/wire_client.h"

namespace outlast::testing {

inline std::string bytes_of(const std::string& line) {
  const auto words = split_words(line);
  const auto bytes = words.ok() ? encode_message(*words) : Result<std::string>(words.error());
  return bytes.ok() ? *bytes : "";
}
// Messages up to one of this name, or to the end of the connection, one a line.
inline std::string until(WireClient& client, std::string_view name) {
  std::string lines;
  for (;;) {
    const auto message = client.read();
    if (!message.ok()) return lines + message.error().message;
    if (!*message) return lines + "close\n";
    lines += (*message)->to_line() + "\n";
    if ((*message)->name() == name) return lines;
  }
}
inline std::string ask(WireClient& client, const std::string& sql) {
  if (!client.send(bytes_of("Query \"" + sql + "\"")).ok()) return "cannot send";
  return until(client, "ReadyForQuery");
}
// Waits for what another thread brings about; false after 10 s.
inline bool eventually(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    ::usleep(1000);
  }
  return true;
}

}  // namespace outlast::testing
