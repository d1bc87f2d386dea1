#pragma once
#include <compare>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace outlast::placement {

/// Where a node stands, from the largest failure domain to the smallest: `region=a,zone=b`. Empty: nobody said.
struct Locality {
  struct Tier {
    std::string key, value;
    friend auto operator<=>(const Tier&, const Tier&) = default;
  };
  std::vector<Tier> tiers;
  friend auto operator<=>(const Locality&, const Locality&) = default;
};

/// kInvalidArgument with what is wrong: a tier without `=`, an empty word, a key that comes twice.
Result<Locality> parse_locality(std::string_view text);
std::string to_string(const Locality& locality);
/// For a sentence: "region a, zone b".
std::string describe(const Locality& locality);
/// How little the two share: tiers of the longer one from the first that differs; 0 when they are one failure domain.
int distance(const Locality& a, const Locality& b);

}  // namespace outlast::placement
