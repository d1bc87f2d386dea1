#include "meta/keys.h"

#include <charconv>
#include <limits>

namespace outlast::meta::keys {

std::optional<std::uint64_t> parse_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number == 0 || text.front() == '0') return {};
  return number;
}

std::optional<liveness::Peer> parse_peer(std::string_view key, std::string_view prefix) {
  const std::string_view pair = rest(key, prefix);
  const std::size_t slash = pair.find('/');
  if (slash == std::string_view::npos) return {};
  const auto node = parse_number(pair.substr(0, slash));
  const auto incarnation = parse_number(pair.substr(slash + 1));
  if (!node || !incarnation || *node > std::numeric_limits<NodeId::rep>::max()) return {};
  return liveness::Peer{NodeId(static_cast<NodeId::rep>(*node)), Incarnation(*incarnation)};
}

}  // namespace outlast::meta::keys
