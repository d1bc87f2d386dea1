#pragma once
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::ingest {

/// An address of either family; IPv4 in its IPv6 form (::ffff:a.b.c.d), so that both compare alike.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};

  static Result<IpAddress> parse(std::string_view text);
  /// All zero for a family that is no IP.
  static IpAddress of(const sockaddr_storage& address);
  bool v4() const;
  bool operator==(const IpAddress&) const = default;
};

/// "192.0.2.7:514", "[2001:db8::1]:514"; IPv4 that came through an IPv6 socket is written as IPv4.
std::string peer_text(const sockaddr_storage& address);

/// The networks that may send: "10.0.0.0/8", "2001:db8::/32", "192.0.2.7". None means everybody.
class AllowList {
 public:
  /// kInvalidArgument names the network and what is wrong; bits behind the prefix are refused as a slip of the pen.
  static Result<AllowList> parse(const std::vector<std::string>& networks);
  bool allows(const IpAddress& address) const;
  bool everybody() const { return networks_.empty(); }

 private:
  struct Network {
    IpAddress address;
    unsigned bits;  ///< Of 128.
  };
  std::vector<Network> networks_;
};

/// At most `per_second` on average, `burst` at once; 0 per second means no limit. Time is passed in.
class TokenBucket {
 public:
  explicit TokenBucket(double per_second = 0, double burst = 0);
  bool limited() const { return per_second_ > 0; }
  /// How many of `wanted` are there; they are taken.
  std::uint64_t take(std::uint64_t wanted, Instant now);
  /// Takes all, into debt if need be, and says how long it lasts. For senders that can be made to wait.
  Duration borrow(std::uint64_t wanted, Instant now);

 private:
  void fill(Instant now);

  double per_second_, burst_, tokens_;
  Instant filled_{};
  bool started_{false};
};

}  // namespace outlast::ingest
