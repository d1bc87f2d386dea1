#include "ingest/buffer/chunk_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "ingest/buffer/chunk_format.h"
#include "ingest/buffer/disk_error.h"

namespace outlast::ingest {
namespace {

struct Descriptor {
  int fd{-1};
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

/// All the parts, however the kernel cuts them. Returns errno, 0 when all is written.
int write_all(int fd, iovec* parts, int count) {
  while (count > 0) {
    const ssize_t wrote = ::writev(fd, parts, count);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return errno;
    auto left = static_cast<std::size_t>(wrote);
    for (; count > 0 && left >= parts->iov_len; ++parts, --count) left -= parts->iov_len;
    if (count == 0) break;
    parts->iov_base = static_cast<char*>(parts->iov_base) + left;
    parts->iov_len -= left;
  }
  return 0;
}

iovec part_of(const std::string& bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

std::string directory_of(const std::string& path) {
  return std::filesystem::path(path).parent_path().string();
}

bool is_nameless(int fd) {
  struct stat facts{};
  return ::fstat(fd, &facts) == 0 && facts.st_nlink == 0;
}

Result<std::string> read_head(int fd, const std::string& path) {
  std::string head(kChunkHeaderMax, '\0');
  const ssize_t got = ::pread(fd, head.data(), head.size(), 0);
  if (got < 0) return disk_error("read", path, errno);
  head.resize(static_cast<std::size_t>(got));
  return head;
}

/// Keeps what is behind `end` beside the file.
Result<void> keep_tail(int fd, const std::string& path, std::uint64_t end, std::uint64_t size) {
  const std::string kept = path + ".torn";
  const Descriptor out{::open(kept.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640)};
  if (out.fd < 0) return disk_error("create", kept, errno);
  auto from = static_cast<off_t>(end);
  std::string piece(1U << 16, '\0');
  while (static_cast<std::uint64_t>(from) < size) {
    const ssize_t got = ::pread(fd, piece.data(), piece.size(), from);
    if (got <= 0) return disk_error("read", path, errno);
    iovec part{piece.data(), static_cast<std::size_t>(got)};
    if (const int error = write_all(out.fd, &part, 1); error != 0) return disk_error("write", kept, error);
    from += got;
  }
  return {};
}

}  // namespace

ChunkFile::ChunkFile(std::string path, ChunkFacts facts) : Chunk(std::move(facts)), path_(std::move(path)) {}

ChunkFile::~ChunkFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> ChunkFile::create() {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
  if (fd_ < 0) return disk_error("create the chunk", path_, errno);
  note_disk(fd_);
  return {};
}

void ChunkFile::note_disk(int fd) {
  struct stat facts{};
  if (::fstat(fd, &facts) == 0) disk_ = facts.st_dev;
}

Result<void> ChunkFile::append(const RecordBatch& batch) {
  const bool first = size_ == 0;
  if (first) TRY(create());
  const std::string header = first ? encode_chunk_header(facts()) : std::string();
  const std::string frame = encode_frame_header(batch);
  iovec parts[] = {part_of(header), part_of(frame), part_of(batch.data())};
  if (const int error = write_all(fd_, parts, 3); error != 0) {
    // What was written of it goes; should even that fail, the frame is torn and the reader stops before it.
    const bool undone = first ? ::unlink(path_.c_str()) == 0 : ::ftruncate(fd_, static_cast<off_t>(size_)) == 0;
    if (first || !undone) close();
    if (!first) ::lseek(fd_, static_cast<off_t>(size_), SEEK_SET);
    return disk_error("write the chunk", path_, error);
  }
  size_ += header.size() + frame.size() + batch.bytes();
  count(batch.records(), batch.bytes());
  return {};
}

Result<void> ChunkFile::sync() {
  if (fd_ >= 0 && ::fdatasync(fd_) != 0) return disk_error("sync the chunk", path_, errno);
  if (fd_ >= 0 && is_nameless(fd_) && !removed_) return disk_error("sync the chunk", path_, ENOENT);
  if (named_) return {};
  const Descriptor directory{::open(directory_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (directory.fd < 0 || ::fsync(directory.fd) != 0) return disk_error("sync", directory_of(path_), errno);
  named_ = true;
  return {};
}

void ChunkFile::close() {
  const std::lock_guard lock(closing_);
  // Somebody removed the file: as long as it is open, it can be read.
  if (fd_ < 0 || (size_ > 0 && is_nameless(fd_))) return;
  ::close(fd_);
  fd_ = -1;
}

int ChunkFile::duplicate() const {
  const std::lock_guard lock(closing_);
  if (fd_ >= 0) return ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  errno = ENOENT;
  return -1;
}

Result<void> ChunkFile::each_batch(const BatchReader& reader) const {
  if (size_ == 0) return {};
  Descriptor file{::open(path_.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0 && errno == ENOENT) file.fd = duplicate();
  if (file.fd < 0) return disk_error("open the chunk", path_, errno);
  FrameReader frames(file.fd, encode_chunk_header(facts()).size(), size_);
  for (;;) {
    ASSIGN_OR_RETURN(const auto frame, frames.next());
    if (!frame) break;
    TRY(reader(frame->batch));
  }
  if (frames.position() == size_) return {};
  return Error(Errc::kCorrupt, "the chunk " + path_ + " is damaged behind byte " + std::to_string(frames.position()));
}

Result<void> ChunkFile::remove() {
  if (size_ == 0) return {};
  const std::lock_guard lock(closing_);
  removed_ = true;
  if (::unlink(path_.c_str()) != 0) {
    if (errno == ENOENT) return {};  // it may have been moved
    removed_ = false;
    return disk_error("remove the chunk", path_, errno);
  }
  // The descriptor stays until the end of this object, as somebody may be syncing it; a full disk waits for the room.
  if (fd_ >= 0 && ::ftruncate(fd_, 0) != 0) return disk_error("empty the removed chunk", path_, errno);
  return {};
}

bool ChunkFile::is_gone() const {
  const std::lock_guard lock(closing_);
  if (size_ == 0 || fd_ >= 0) return false;
  const Descriptor directory{::open(directory_of(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  struct stat facts{};
  if (directory.fd < 0 || ::fstat(directory.fd, &facts) != 0 || facts.st_dev != disk_) return false;
  const std::string name = std::filesystem::path(path_).filename().string();
  return ::faccessat(directory.fd, name.c_str(), F_OK, 0) != 0 && errno == ENOENT;
}

Amount ChunkFile::measure(const std::string& path) {
  Amount amount;
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return amount;
  const auto head = read_head(file.fd, path);
  const auto header = head.ok() ? decode_chunk_header(*head) : Result<std::optional<ChunkHeader>>(head.error());
  if (!header.ok() || !*header) return amount;
  amount.chunks = 1;
  char bytes[kFrameHeader];
  for (auto at = static_cast<off_t>((*header)->size); ::pread(file.fd, bytes, kFrameHeader, at) == kFrameHeader;) {
    const FrameHeader frame = decode_frame_header(bytes);
    amount.add(frame.records, frame.length);
    at += static_cast<off_t>(kFrameHeader + frame.length);
  }
  return amount;
}

Result<ChunkFile::Recovered> ChunkFile::recover(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
  struct stat facts{};
  if (file.fd < 0 || ::fstat(file.fd, &facts) != 0) return disk_error("open the chunk", path, errno);
  const auto size = static_cast<std::uint64_t>(facts.st_size);
  ASSIGN_OR_RETURN(const std::string head, read_head(file.fd, path));
  auto header = decode_chunk_header(head);
  if (!header.ok()) return std::move(header).error().within(path);
  std::uint64_t end = 0;
  Recovered recovered;
  if (*header) {
    FrameReader frames(file.fd, (*header)->size, size);
    recovered.chunk = std::make_shared<ChunkFile>(path, (*header)->facts);
    recovered.chunk->note_disk(file.fd);
    for (end = (*header)->size;; end = frames.position()) {
      ASSIGN_OR_RETURN(const auto frame, frames.next());
      if (!frame) break;
      const auto records = RecordBatch::count(frame->batch);
      if (!records.ok() || *records != frame->records) break;
      recovered.chunk->count(frame->records, frame->batch.size());
    }
    if (frames.damaged()) TRY(keep_tail(file.fd, path, end, size));
  }
  recovered.cut = size - end;
  if (recovered.chunk == nullptr || recovered.chunk->records() == 0) {
    if (::unlink(path.c_str()) != 0) return disk_error("remove the empty chunk", path, errno);
    recovered.chunk = nullptr;
    return recovered;
  }
  if (recovered.cut > 0 && ::ftruncate(file.fd, static_cast<off_t>(end)) != 0)
    return disk_error("cut the torn tail of", path, errno);
  recovered.chunk->size_ = end;
  recovered.chunk->named_ = true;
  return recovered;
}

}  // namespace outlast::ingest
