#include "ingest/input/limits.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/parse.h"

namespace outlast::ingest {
namespace {
constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

IpAddress mapped(const in_addr& address) {
  IpAddress out;
  std::copy(kMapped.begin(), kMapped.end(), out.bytes.begin());
  std::memcpy(out.bytes.data() + 12, &address, 4);
  return out;
}

bool same_prefix(const IpAddress& a, const IpAddress& b, unsigned bits) {
  if (std::memcmp(a.bytes.data(), b.bytes.data(), bits / 8) != 0) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff00 >> (bits % 8));
  return ((a.bytes[bits / 8] ^ b.bytes[bits / 8]) & mask) == 0;
}

bool zero_behind(const IpAddress& address, unsigned bits) {
  IpAddress cleared = address;
  for (unsigned bit = bits; bit < 128; ++bit) cleared.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80 >> (bit % 8)));
  return cleared == address;
}
}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  const std::string name(text);
  in_addr four{};
  if (inet_pton(AF_INET, name.c_str(), &four) == 1) return mapped(four);
  IpAddress out;
  if (inet_pton(AF_INET6, name.c_str(), out.bytes.data()) == 1) return out;
  return Error(Errc::kInvalidArgument, "\"" + name + "\" is no IP address; write one such as 192.0.2.7 or 2001:db8::7");
}

IpAddress IpAddress::of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) return mapped(reinterpret_cast<const sockaddr_in&>(address).sin_addr);
  IpAddress out;
  if (address.ss_family == AF_INET6)
    std::memcpy(out.bytes.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);
  return out;
}

bool IpAddress::v4() const {
  return std::equal(kMapped.begin(), kMapped.end(), bytes.begin());
}

std::string peer_text(const sockaddr_storage& address) {
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return {};
  const IpAddress ip = IpAddress::of(address);
  const std::uint16_t port =
      ntohs(address.ss_family == AF_INET ? reinterpret_cast<const sockaddr_in&>(address).sin_port
                                         : reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  char text[INET6_ADDRSTRLEN] = "";
  if (ip.v4()) {
    inet_ntop(AF_INET, ip.bytes.data() + 12, text, sizeof text);
    return std::string(text) + ":" + std::to_string(port);
  }
  inet_ntop(AF_INET6, ip.bytes.data(), text, sizeof text);
  return "[" + std::string(text) + "]:" + std::to_string(port);
}

Result<AllowList> AllowList::parse(const std::vector<std::string>& networks) {
  AllowList out;
  for (const std::string& text : networks) {
    const std::size_t slash = text.find('/');
    ASSIGN_OR_RETURN(const IpAddress address, IpAddress::parse(text.substr(0, slash)));
    const int most = address.v4() ? 32 : 128;
    std::int64_t bits = most;
    if (slash != std::string::npos) {
      const auto number = parse_int(text.substr(slash + 1));
      if (!number.ok() || *number < 0 || *number > most)
        return Error(Errc::kInvalidArgument, "the prefix of the network \"" + text + "\" must be a number from 0 to " +
                                                 std::to_string(most) + ", such as 10.0.0.0/8");
      bits = *number;
    }
    const auto all = static_cast<unsigned>(bits + 128 - most);
    if (!zero_behind(address, all))
      return Error(Errc::kInvalidArgument, "the network \"" + text +
                                               "\" has bits set behind its prefix; write the "
                                               "network's first address, or leave the prefix away for one host");
    out.networks_.push_back({address, all});
  }
  return out;
}

bool AllowList::allows(const IpAddress& address) const {
  if (networks_.empty()) return true;
  return std::ranges::any_of(networks_, [&](const Network& n) { return same_prefix(n.address, address, n.bits); });
}

TokenBucket::TokenBucket(double per_second, double burst)
    : per_second_(per_second), burst_(std::max({burst, per_second / 10, 1.0})), tokens_(burst_) {}

void TokenBucket::fill(Instant now) {
  if (started_ && now > filled_)
    tokens_ = std::min(burst_, tokens_ + std::chrono::duration<double>(now - filled_).count() * per_second_);
  filled_ = now;
  started_ = true;
}

std::uint64_t TokenBucket::take(std::uint64_t wanted, Instant now) {
  if (!limited()) return wanted;
  fill(now);
  const auto taken = static_cast<std::uint64_t>(std::min(std::floor(tokens_), static_cast<double>(wanted)));
  tokens_ -= static_cast<double>(taken);
  return taken;
}

Duration TokenBucket::borrow(std::uint64_t wanted, Instant now) {
  if (!limited()) return Duration::zero();
  fill(now);
  tokens_ -= static_cast<double>(wanted);
  if (tokens_ >= 0) return Duration::zero();
  return std::chrono::ceil<Duration>(std::chrono::duration<double>(-tokens_ / per_second_));
}

}  // namespace outlast::ingest
