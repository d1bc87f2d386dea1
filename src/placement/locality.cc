#include "placement/locality.h"

#include <algorithm>

namespace outlast::placement {

Result<Locality> parse_locality(std::string_view text) {
  const auto wrong = [&](const std::string& why) {
    return Error(Errc::kInvalidArgument,
                 "locality \"" + std::string(text) + "\" " + why + "; write it as region=a,zone=b");
  };
  Locality out;
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view tier = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), tier.size() + 1));
    const auto equals = tier.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 == tier.size())
      return wrong("has the tier \"" + std::string(tier) + "\" without a name or a value");
    std::string key(tier.substr(0, equals));
    if (std::ranges::any_of(out.tiers, [&](const auto& known) { return known.key == key; }))
      return wrong("names the tier \"" + key + "\" twice");
    out.tiers.push_back({std::move(key), std::string(tier.substr(equals + 1))});
  }
  return out;
}

std::string to_string(const Locality& locality) {
  std::string out;
  for (const auto& tier : locality.tiers) out += (out.empty() ? "" : ",") + tier.key + "=" + tier.value;
  return out;
}

std::string describe(const Locality& locality) {
  std::string out;
  for (const auto& tier : locality.tiers) out += (out.empty() ? "" : ", ") + tier.key + " " + tier.value;
  return out;
}

int distance(const Locality& a, const Locality& b) {
  const auto shared = std::ranges::mismatch(a.tiers, b.tiers).in1 - a.tiers.begin();
  return static_cast<int>(std::max(a.tiers.size(), b.tiers.size())) - static_cast<int>(shared);
}

}  // namespace outlast::placement
