#include "ingest/sink/file_sink.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "base/crc32c.h"
#include "ingest/buffer/disk_error.h"
#include "ingest/parse/timestamp.h"
#include "ingest/sink/write_all.h"

namespace outlast::ingest {
namespace {
constexpr std::int64_t kMicros = 1'000'000;

/// "20261126-140509" of "2026-11-26T14:05:09Z".
std::string stamp_of(std::int64_t micros) {
  const std::string text = format_rfc3339(micros / kMicros * kMicros);
  return text.substr(0, 4) + text.substr(5, 2) + text.substr(8, 2) + "-" + text.substr(11, 2) + text.substr(14, 2) +
         text.substr(17, 2);
}

}  // namespace

/// The chunk that was begun last, as it is kept in PATH.mark.
struct FileSink::Mark {
  ChunkId id;
  std::uint64_t inode{0};
  std::uint64_t offset{0};
  std::uint64_t crc{0};
  std::uint64_t checksum() const { return crc32c(this, offsetof(Mark, crc), 0); }
};

FileSink::FileSink(FileSinkOptions options, const Decoder& decoder, Clock& clock)
    : options_(std::move(options)),
      decoder_(decoder),
      clock_(clock),
      file_(options_.path + std::string(suffix_of(options_.compression))) {}

FileSink::~FileSink() {
  if (fd_ >= 0) ::close(fd_);
  if (mark_fd_ >= 0) ::close(mark_fd_);
}

void FileSink::write(std::shared_ptr<const Chunk> chunk, Callback<void> done) {
  done(write_chunk(*chunk));
}

Result<void> FileSink::write_chunk(const Chunk& chunk) {
  TRY(open());
  TRY(begin(chunk.id()));
  auto written = append_lines(chunk);
  if (written.ok() && options_.sync && ::fdatasync(fd_) != 0) written = disk_error("sync", file_, errno);
  // What fits of it is no use: the chunk comes again as a whole.
  if (!written.ok() && ::ftruncate(fd_, static_cast<off_t>(begin_)) != 0)
    return disk_error("take back half a chunk from", file_, errno);
  return written;
}

Result<void> FileSink::open() {
  struct stat named{};
  struct stat opened{};
  const bool present = ::stat(file_.c_str(), &named) == 0;
  if (fd_ >= 0 && present && ::fstat(fd_, &opened) == 0 && named.st_ino == opened.st_ino) return {};
  if (fd_ >= 0) ::close(fd_);
  if (!present) {
    std::error_code ignored;  // opening the file says what is wrong
    std::filesystem::create_directories(std::filesystem::path(file_).parent_path(), ignored);
  }
  fd_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd_ < 0) return disk_error("open", file_, errno);
  if (mark_fd_ >= 0) return {};
  const std::string path = file_ + ".mark";
  mark_fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  return mark_fd_ < 0 ? Result<void>(disk_error("open", path, errno)) : Result<void>();
}

Result<void> FileSink::begin(const ChunkId& id) {
  struct stat facts{};
  if (::fstat(fd_, &facts) != 0) return disk_error("look at", file_, errno);
  const auto last = mark();
  if (last && last->id == id && last->inode == facts.st_ino) {
    begin_ = last->offset;
    if (static_cast<std::uint64_t>(facts.st_size) <= begin_) return {};
    if (::ftruncate(fd_, static_cast<off_t>(begin_)) != 0) return disk_error("cut", file_, errno);
    return {};
  }
  TRY(rotate_if_due());
  if (::fstat(fd_, &facts) != 0) return disk_error("look at", file_, errno);
  begin_ = static_cast<std::uint64_t>(facts.st_size);
  return set_mark({.id = id, .inode = facts.st_ino, .offset = begin_});
}

std::optional<FileSink::Mark> FileSink::mark() const {
  Mark mark;
  if (::pread(mark_fd_, &mark, sizeof mark, 0) != sizeof mark || mark.crc != mark.checksum()) return std::nullopt;
  return mark;
}

Result<void> FileSink::set_mark(const Mark& mark) {
  Mark signed_mark = mark;
  signed_mark.crc = mark.checksum();
  if (::pwrite(mark_fd_, &signed_mark, sizeof mark, 0) != sizeof mark)
    return disk_error("write", file_ + ".mark", errno);
  return {};
}

Result<void> FileSink::rotate_if_due() {
  struct stat facts{};
  if (::fstat(fd_, &facts) != 0) return disk_error("look at", file_, errno);
  if (facts.st_size == 0) return {};
  const bool large = options_.rotate_bytes > 0 && static_cast<std::uint64_t>(facts.st_size) >= options_.rotate_bytes;
  const auto period = std::chrono::duration_cast<std::chrono::seconds>(options_.rotate_time).count();
  const std::int64_t now = clock_.wall_micros();
  const bool old = period > 0 && facts.st_mtim.tv_sec / period != now / kMicros / period;
  if (!large && !old) return {};
  const std::string kept = free_name(now);
  if (std::rename(file_.c_str(), kept.c_str()) != 0) return disk_error("rotate", file_, errno);
  return open();
}

std::string FileSink::free_name(std::int64_t micros) const {
  const std::string name = options_.path + "." + stamp_of(micros);
  const std::string suffix(suffix_of(options_.compression));
  std::string free = name + suffix;
  for (int number = 1; std::filesystem::exists(free); ++number) free = name + "." + std::to_string(number) + suffix;
  return free;
}

Result<void> FileSink::append_lines(const Chunk& chunk) {
  const auto compressor = Compressor::make(options_.compression);
  const auto put = [this](std::string_view bytes) -> Result<void> {
    const int error = write_all(fd_, bytes);
    return error == 0 ? Result<void>() : Result<void>(disk_error("write", file_, error));
  };
  if (compressor == nullptr) return write_lines(chunk, options_.form, decoder_, put);
  std::string packed;
  const auto pack = [&](std::string_view lines) -> Result<void> {
    TRY(compressor->compress(lines, false, packed));
    TRY(put(packed));
    packed.clear();
    return {};
  };
  TRY(write_lines(chunk, options_.form, decoder_, pack));
  TRY(compressor->compress({}, true, packed));
  return put(packed);
}

}  // namespace outlast::ingest
