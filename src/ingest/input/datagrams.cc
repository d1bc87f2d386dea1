#include "ingest/input/datagrams.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ingest/input/framing.h"

namespace outlast::ingest {
namespace {
constexpr std::size_t kDatagramMax = 65'535;
constexpr std::size_t kFrameMax = 2;  // CR LF

std::size_t hash_of(const char* bytes, std::size_t size) {
  std::size_t hash = 14695981039346656037ULL;
  for (std::size_t i = 0; i < size; ++i) hash = (hash ^ static_cast<unsigned char>(bytes[i])) * 1099511628211ULL;
  return hash ^ (hash >> 32);
}
}  // namespace

const PeerCache::Peer& PeerCache::find(const sockaddr_storage& address, socklen_t size) {
  const auto* bytes = reinterpret_cast<const char*>(&address);
  // The rest of a sockaddr_in is padding.
  size = std::min<socklen_t>(address.ss_family == AF_INET ? 8 : size, kAddressMax);
  Entry& entry = entries_[hash_of(bytes, size) % kEntries];
  if (entry.size == size && std::memcmp(entry.address, bytes, size) == 0) return entry.peer;
  std::memcpy(entry.address, bytes, size);
  entry.size = size;
  entry.peer = {peer_text(address), allow_.allows(IpAddress::of(address))};
  return entry.peer;
}

// Memory that is never touched costs nothing, so every datagram gets room for the largest. The odd number of cache
// lines keeps the beginnings of all from falling into the same few lines of the cache.
Datagrams::Datagrams(std::size_t most, std::size_t record_max)
    : record_max_(std::min(record_max, kDatagramMax)),
      stride_(((record_max_ + kFrameMax + 63) / 64 | 1) * 64),
      memory_(nullptr, Unmap{most * stride_}),
      headers_(most),
      pieces_(most),
      addresses_(most),
      control_(most * kControl),
      used_(most) {
  void* memory =
      mmap(nullptr, most * stride_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  OUTLAST_ASSERT(memory != MAP_FAILED, "no memory to read datagrams into");
  memory_.reset(static_cast<char*>(memory));
  for (std::size_t i = 0; i < most; ++i) {
    pieces_[i] = {memory_.get() + i * stride_, record_max_ + kFrameMax};
    headers_[i].msg_hdr.msg_iov = &pieces_[i];
    headers_[i].msg_hdr.msg_iovlen = 1;
    headers_[i].msg_hdr.msg_name = &addresses_[i];
    headers_[i].msg_hdr.msg_control = control_.data() + i * kControl;
  }
}

void Datagrams::Unmap::operator()(char* memory) const {
  munmap(memory, size);
}

int Datagrams::read(int fd, std::size_t want) {
  want = std::min(want, headers_.size());
  for (std::size_t i = 0; i < used_; ++i) {
    headers_[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    headers_[i].msg_hdr.msg_controllen = kControl;
  }
  const int count = recvmmsg(fd, headers_.data(), static_cast<unsigned>(want), MSG_DONTWAIT, nullptr);
  used_ = static_cast<std::size_t>(std::max(count, 0));
  drops_.reset();
  if (count <= 0) return errno == EAGAIN || errno == EINTR ? 0 : -1;
  msghdr& last = headers_[used_ - 1].msg_hdr;
  for (cmsghdr* c = CMSG_FIRSTHDR(&last); c != nullptr; c = CMSG_NXTHDR(&last, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SO_RXQ_OVFL) continue;
    std::uint32_t drops = 0;
    std::memcpy(&drops, CMSG_DATA(c), sizeof drops);
    drops_ = drops;
  }
  return count;
}

Datagrams::Appended Datagrams::append_to(RecordBatch& batch, std::size_t count, std::int64_t received_micros,
                                         PeerCache& peers) {
  Appended done;
  for (std::size_t i = 0; i < count; ++i) {
    const msghdr& header = headers_[i].msg_hdr;
    const PeerCache::Peer& peer = peers.find(addresses_[i], header.msg_namelen);
    if (!peer.allowed) {
      ++done.disallowed;
      continue;
    }
    std::string_view bytes(static_cast<const char*>(pieces_[i].iov_base), headers_[i].msg_len);
    const bool longer = (header.msg_flags & MSG_TRUNC) != 0;
    if (!longer && bytes.ends_with('\n')) {
      bytes.remove_suffix(1);
      if (bytes.ends_with('\r')) bytes.remove_suffix(1);
    }
    if (bytes.empty()) {
      ++done.empty;
      continue;
    }
    const bool cut = longer || bytes.size() > record_max_;
    if (cut) bytes = bytes.substr(0, record_max_);
    done.records += 1;
    done.bytes += bytes.size();
    done.cut += cut ? 1 : 0;
    if (cut)
      append_cut(batch, {received_micros, peer.text, bytes});
    else
      batch.append({received_micros, peer.text, bytes});
  }
  return done;
}

void Datagrams::append_cut(RecordBatch& batch, RawRecord record) {
  scratch_.assign(record.bytes).append(fault_mark(FrameFault::kCut));
  record.bytes = scratch_;
  batch.append(record);
}

}  // namespace outlast::ingest
