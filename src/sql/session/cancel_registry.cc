#include "sql/session/cancel_registry.h"

#include <unistd.h>

#include <cstring>

#include "base/result.h"

namespace outlast::sql {
namespace {
constexpr std::uint32_t kNumberBits = 20, kNodeMask = 0x7ff, kNumberMask = (1u << kNumberBits) - 1;
constexpr std::size_t kKeyBytes = 4;

// A secret, not chance: a seeded Random would let a client compute the keys of others.
std::string secret() {
  std::string key(kKeyBytes, '\0');
  OUTLAST_ASSERT(::getentropy(key.data(), key.size()) == 0, "the kernel gives no random bytes");
  return key;
}

bool same_key(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  return difference == 0;
}
}  // namespace

CancelRegistry::CancelRegistry(NodeId node) : node_(node) {
  const std::string chance = secret();
  std::memcpy(&next_, chance.data(), sizeof next_);
  next_ %= kNumberMask;
}

NodeId node_of_pid(std::int32_t pid) {
  return NodeId(static_cast<std::uint32_t>(pid) >> kNumberBits & kNodeMask);
}

NodeId CancelRegistry::node() const {
  return NodeId(node_.value & kNodeMask);
}

CancelKey CancelRegistry::add(std::function<void()> on_cancel) {
  const std::lock_guard lock(mutex_);
  std::int32_t pid = 0;
  do {
    next_ = next_ % kNumberMask + 1;  // never 0
    pid = static_cast<std::int32_t>((node_.value & kNodeMask) << kNumberBits | next_);
  } while (entries_.contains(pid));
  CancelKey key{pid, secret()};
  entries_.emplace(pid, Entry{key.key, std::move(on_cancel)});
  return key;
}

void CancelRegistry::adopt(const CancelKey& key, std::function<void()> on_cancel) {
  const std::lock_guard lock(mutex_);
  entries_.emplace(key.pid, Entry{key.key, std::move(on_cancel)});
}

void CancelRegistry::remove(const CancelKey& key) {
  const std::lock_guard lock(mutex_);
  const auto [begin, end] = entries_.equal_range(key.pid);
  for (auto it = begin; it != end; ++it)
    if (it->second.key == key.key) {
      entries_.erase(it);
      return;
    }
}

bool CancelRegistry::cancel(std::int32_t pid, std::string_view key) {
  const std::lock_guard lock(mutex_);
  const auto [begin, end] = entries_.equal_range(pid);
  for (auto it = begin; it != end; ++it)
    if (same_key(it->second.key, key)) {
      it->second.on_cancel();
      return true;
    }
  return false;
}

}  // namespace outlast::sql
