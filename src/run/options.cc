#include "run/options.h"

#include <algorithm>
#include <csignal>
#include <cstring>

#include "base/parse.h"

namespace outlast::run {

Result<int> parse_signal(const std::string& text) {
  const std::string name = text.starts_with("SIG") ? text.substr(3) : text;
  for (int s = 1; s < SIGRTMIN; ++s) {
    const char* const known = sigabbrev_np(s);
    if ((known != nullptr && name == known) || name == std::to_string(s)) return s;
  }
  return Error(Errc::kInvalidArgument, "'" + text + "' is no signal: write SIGTERM, SIGQUIT, …");
}

Result<std::string> fill_in(const std::string& text, const std::vector<std::string>& socket_names) {
  constexpr int kFirst = 3;
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t open = std::min(text.find("{fd", at), text.size());
    out += text.substr(at, open - at);
    if (open == text.size()) break;
    const std::size_t close = text.find('}', open);
    if (close == std::string::npos) return Error(Errc::kInvalidArgument, "'" + text + "' lacks a }");
    const std::string inner = text.substr(open + 3, close - open - 3);
    if (inner.starts_with('s')) {
      for (std::size_t i = 0; i < socket_names.size(); ++i)
        out += std::to_string(kFirst + static_cast<int>(i)) + inner.substr(1);
    } else {
      const auto found = std::ranges::find(socket_names, inner.starts_with(':') ? inner.substr(1) : "");
      if (found == socket_names.end())
        return Error(Errc::kInvalidArgument, "'" + text + "': no socket of --listen is named like that");
      out += std::to_string(kFirst + static_cast<int>(found - socket_names.begin()));
    }
    at = close + 1;
  }
  return out;
}

}  // namespace outlast::run
