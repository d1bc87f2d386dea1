#include "storage/disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <system_error>

namespace outlast::storage {
namespace {

Error failure(std::string_view what, const std::string& path, int error) {
  std::string text = "cannot " + std::string(what) + " " + path + ": " + std::generic_category().message(error);
  if (error == ENOENT) return {Errc::kNotFound, std::move(text)};
  if (error == EEXIST || error == ENOTEMPTY) return {Errc::kAlreadyExists, std::move(text)};
  if (error == ENOSPC || error == EDQUOT) return {Errc::kDiskFull, text + "; free space on this disk"};
  // Not kIo: the disk is as good as before, and nothing on it is to be given up for want of a descriptor.
  if (error == EMFILE || error == ENFILE) return {Errc::kOutOfMemory, text + "; raise the limit on open files"};
  return {Errc::kIo, text + "; check the disk and the permissions of the store"};
}

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }

 private:
  int fd_;
};

int open_retrying(const char* path, int flags) {
  int fd;
  do fd = ::open(path, flags | O_CLOEXEC, 0640);
  while (fd < 0 && errno == EINTR);
  return fd;
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}

  Result<std::size_t> pread(std::uint64_t offset, char* buffer, std::size_t bytes) override {
    std::size_t done = 0;
    while (done < bytes) {
      const ssize_t n = ::pread(fd_.get(), buffer + done, bytes - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failure("read", path_, errno);
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  Result<void> pwrite(std::uint64_t offset, std::span<const std::string_view> parts) override {
    std::vector<iovec> left;
    left.reserve(parts.size());
    for (const std::string_view part : parts)
      if (!part.empty()) left.push_back({const_cast<char*>(part.data()), part.size()});
    std::size_t first = 0;
    while (first < left.size()) {
      const int count = static_cast<int>(std::min<std::size_t>(left.size() - first, IOV_MAX));
      const ssize_t n = ::pwritev(fd_.get(), &left[first], count, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return failure("write", path_, errno);
      offset += static_cast<std::uint64_t>(n);
      for (std::size_t k = static_cast<std::size_t>(n); k > 0;) {
        iovec& part = left[first];
        const std::size_t step = std::min(k, part.iov_len);
        part.iov_base = static_cast<char*>(part.iov_base) + step;
        part.iov_len -= step;
        k -= step;
        if (part.iov_len == 0) ++first;
      }
    }
    return {};
  }

  Result<void> sync() override {
    if (::fdatasync(fd_.get()) != 0) return failure("sync", path_, errno);
    return {};
  }
  Result<void> truncate(std::uint64_t size) override {
    while (::ftruncate(fd_.get(), static_cast<off_t>(size)) != 0)
      if (errno != EINTR) return failure("truncate", path_, errno);
    return {};
  }
  Result<std::uint64_t> size() override {
    struct stat facts;
    if (::fstat(fd_.get(), &facts) != 0) return failure("stat", path_, errno);
    return static_cast<std::uint64_t>(facts.st_size);
  }
  Result<void> reserve(std::uint64_t size) override {
    int rc;
    do rc = ::fallocate(fd_.get(), FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size));
    while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno != EOPNOTSUPP && errno != ENOSYS) return failure("take space for", path_, errno);
    return {};
  }
  Result<void> write_back(std::uint64_t offset, std::uint64_t bytes, bool wait) override {
    const unsigned flags =
        SYNC_FILE_RANGE_WRITE | (wait ? SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER : 0U);
    if (::sync_file_range(fd_.get(), static_cast<off64_t>(offset), static_cast<off64_t>(bytes), flags) == 0) return {};
    if (errno == ENOSYS || errno == ESPIPE) return {};
    return failure("write", path_, errno);
  }
  Result<bool> write_direct(std::uint64_t offset, std::string_view bytes) override {
    if (!direct_) direct_.emplace(open_retrying(path_.c_str(), O_WRONLY | O_DIRECT));
    if (!direct_->ok()) return false;
    while (!bytes.empty()) {
      const ssize_t n = ::pwrite(direct_->get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EINVAL) return false;
      if (n < 0) return failure("write", path_, errno);
      offset += static_cast<std::uint64_t>(n);
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

 private:
  Fd fd_;
  std::string path_;
  std::optional<Fd> direct_;
};

class PosixLock final : public FileLock {
 public:
  explicit PosixLock(int fd) : fd_(fd) {}

 private:
  Fd fd_;
};

Result<void> copy_bytes(int in, int out, const std::string& from, const std::string& to) {
  std::vector<char> buffer;
  bool in_kernel = true;
  for (;;) {
    ssize_t n = -1;
    if (in_kernel) {
      n = ::copy_file_range(in, nullptr, out, nullptr, std::size_t{64} << 20, 0);
      if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP)) {
        in_kernel = false;
        buffer.resize(std::size_t{1} << 20);
        continue;
      }
    } else {
      n = ::read(in, buffer.data(), buffer.size());
      for (ssize_t done = 0; n > 0 && done < n;) {
        const ssize_t k = ::write(out, buffer.data() + done, static_cast<std::size_t>(n - done));
        if (k < 0 && errno != EINTR) return failure("write", to, errno);
        if (k > 0) done += k;
      }
    }
    if (n == 0) return {};
    if (n < 0 && errno != EINTR) return failure("copy", from, errno);
  }
}

class PosixDisk final : public Disk {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    int flags = mode == OpenMode::kRead ? O_RDONLY : O_RDWR;
    if (mode == OpenMode::kCreate) flags |= O_CREAT;
    if (mode == OpenMode::kCreateNew) flags |= O_CREAT | O_TRUNC;
    const int fd = open_retrying(path.c_str(), flags);
    if (fd < 0) return failure("open", path, errno);
    return std::unique_ptr<File>(std::make_unique<PosixFile>(fd, path));
  }
  Result<void> sync_dir(const std::string& path) override {
    const Fd fd(open_retrying(path.c_str(), O_RDONLY | O_DIRECTORY));
    if (!fd.ok()) return failure("open", path, errno);
    if (::fsync(fd.get()) != 0) return failure("sync", path, errno);
    return {};
  }
  Result<void> rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) return failure("rename", from, errno);
    return {};
  }
  Result<void> remove(const std::string& path) override {
    if (::remove(path.c_str()) != 0) return failure("remove", path, errno);
    return {};
  }
  Result<void> make_dir(const std::string& path) override {
    if (::mkdir(path.c_str(), 0750) != 0) return failure("make directory", path, errno);
    return {};
  }
  Result<std::vector<std::string>> list(const std::string& path) override {
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
    if (dir == nullptr) return failure("list", path, errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(dir.get())) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    if (errno != 0) return failure("list", path, errno);
    std::ranges::sort(names);
    return names;
  }
  Result<std::uint64_t> file_size(const std::string& path) override {
    struct stat facts;
    if (::stat(path.c_str(), &facts) != 0) return failure("stat", path, errno);
    return static_cast<std::uint64_t>(facts.st_size);
  }
  Result<Space> space(const std::string& path) override {
    struct statvfs facts;
    if (::statvfs(path.c_str(), &facts) != 0) return failure("look at the space of", path, errno);
    return Space{std::uint64_t{facts.f_bavail} * facts.f_frsize, std::uint64_t{facts.f_blocks} * facts.f_frsize};
  }
  Result<void> copy(const std::string& from, const std::string& to) override {
    const Fd in(open_retrying(from.c_str(), O_RDONLY));
    if (!in.ok()) return failure("open", from, errno);
    const Fd out(open_retrying(to.c_str(), O_RDWR | O_CREAT | O_TRUNC));
    if (!out.ok()) return failure("open", to, errno);
    return copy_bytes(in.get(), out.get(), from, to);
  }
  Result<std::unique_ptr<FileLock>> lock(const std::string& path, const std::string& holder) override {
    const int fd = open_retrying(path.c_str(), O_RDWR | O_CREAT);
    if (fd < 0) return failure("open", path, errno);
    auto lock = std::make_unique<PosixLock>(fd);
    struct flock whole = {};
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (::fcntl(fd, F_OFD_SETLK, &whole) != 0) {
      if (errno != EAGAIN && errno != EACCES) return failure("lock", path, errno);
      char text[256] = {};
      const ssize_t n = ::pread(fd, text, sizeof text - 1, 0);
      std::string who(text, n > 0 ? static_cast<std::size_t>(n) : 0);
      while (!who.empty() && who.back() == '\n') who.pop_back();
      return Error(Errc::kStoreLocked, path + " is held by another process (" + (who.empty() ? "unknown" : who) +
                                           "); stop it first, or give this one another --store");
    }
    // For people only, so a failure to write it does not matter.
    if (::ftruncate(fd, 0) == 0) [[maybe_unused]]
      const ssize_t n = ::pwrite(fd, holder.data(), holder.size(), 0);
    return std::unique_ptr<FileLock>(std::move(lock));
  }
  Result<void> sqlite_io(SqliteOp, const std::string&, std::uint64_t, std::size_t) override { return {}; }
};

}  // namespace

std::unique_ptr<Disk> make_posix_disk() {
  return std::make_unique<PosixDisk>();
}

bool exists(Disk& disk, const std::string& path) {
  return disk.file_size(path).ok();
}

Result<std::string> read_file(Disk& disk, const std::string& path, std::size_t bytes_max) {
  ASSIGN_OR_RETURN(const auto file, disk.open(path, OpenMode::kRead));
  ASSIGN_OR_RETURN(const std::uint64_t size, file->size());
  if (size > bytes_max) return Error(Errc::kTooLarge, path + " is larger than it can be; it is not one of ours");
  std::string bytes(size, '\0');
  ASSIGN_OR_RETURN(const std::size_t n, file->pread(0, bytes.data(), bytes.size()));
  bytes.resize(n);
  return bytes;
}

Result<void> remove_tree(Disk& disk, const std::string& path) {
  auto names = disk.list(path);
  if (!names.ok()) {
    if (names.error().code == Errc::kNotFound) return {};
    return std::move(names).error();
  }
  for (const std::string& name : *names) {
    const std::string inner = path + "/" + name;
    if (disk.remove(inner).ok()) continue;
    TRY(remove_tree(disk, inner));
  }
  return remove_if_there(disk, path);
}

Result<void> remove_if_there(Disk& disk, const std::string& path) {
  auto removed = disk.remove(path);
  if (!removed.ok() && removed.error().code != Errc::kNotFound) return removed;
  return {};
}

Result<void> try_disk(Disk& disk, const std::string& dir) {
  const std::string path = dir + "/TRY";
  {
    ASSIGN_OR_RETURN(const auto file, disk.open(path, OpenMode::kCreateNew));
    TRY(file->pwrite(0, std::string(4096, 't')));
    TRY(file->sync());
  }
  TRY(disk.remove(path));
  return disk.sync_dir(dir);
}

}  // namespace outlast::storage
