#pragma once
#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ingest/input/limits.h"
#include "ingest/record_batch.h"

namespace outlast::ingest {

/// Texts of senders, so that a sender that is known costs a look and no more.
/// Thread-safety: none.
class PeerCache {
 public:
  struct Peer {
    std::string text;
    bool allowed{false};
  };
  explicit PeerCache(const AllowList& allow) : allow_(allow), entries_(kEntries) {}
  /// Lifetime: until the next call.
  const Peer& find(const sockaddr_storage& address, socklen_t size);

 private:
  static constexpr std::size_t kEntries = 1024;
  static constexpr std::size_t kAddressMax = 28;  // sockaddr_in6
  struct Entry {
    char address[kAddressMax];
    socklen_t size{0};
    Peer peer;
  };
  const AllowList& allow_;
  std::vector<Entry> entries_;
};

/// The memory that a UDP socket is read into, many datagrams a call (recvmmsg).
/// Thread-safety: none.
class Datagrams {
 public:
  Datagrams(std::size_t most, std::size_t record_max);
  /// Reads at most `want` without waiting; 0 when there is nothing, -1 with errno.
  int read(int fd, std::size_t want);

  struct Appended {
    std::uint64_t records{0}, bytes{0}, cut{0}, disallowed{0}, empty{0};
  };
  /// The first `count` of the last read as records; one LF or CR LF at the end of a datagram is its frame.
  Appended append_to(RecordBatch& batch, std::size_t count, std::int64_t received_micros, PeerCache& peers);
  /// The kernel's count of dropped datagrams that came with the last read, if one did (SO_RXQ_OVFL).
  std::optional<std::uint32_t> drops() const { return drops_; }

 private:
  static constexpr std::size_t kControl = 64;
  struct Unmap {
    std::size_t size;
    void operator()(char* memory) const;
  };
  void append_cut(RecordBatch& batch, RawRecord record);

  std::size_t record_max_, stride_;
  std::unique_ptr<char, Unmap> memory_;
  std::vector<mmsghdr> headers_;
  std::vector<iovec> pieces_;
  std::vector<sockaddr_storage> addresses_;
  std::vector<char> control_;
  std::size_t used_{0};  ///< Headers whose sizes the kernel changed.
  std::optional<std::uint32_t> drops_;
  std::string scratch_;
};

}  // namespace outlast::ingest
