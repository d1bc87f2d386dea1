#include <algorithm>
#include <cstring>

#include "sql/pgwire/cursor.h"
#include "sql/pgwire/messages.h"

namespace outlast::sql::pgwire {
namespace {
constexpr std::size_t kHeader = 5;             // type byte and length word
constexpr std::size_t kKeptBytes = 64 * 1024;  // a buffer that grew beyond this is given back when it is empty
}  // namespace

char* FrameReader::prepare(std::size_t n) {
  if (begin_ == end_) {
    begin_ = end_ = 0;
    if (bytes_.size() > kKeptBytes) bytes_ = std::string();
  }
  if (begin_ > 0 && end_ + n > bytes_.size()) {
    std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ + n > bytes_.size()) bytes_.resize(std::max(end_ + n, end_ + end_ / 2));
  return bytes_.data() + end_;
}

void FrameReader::commit(std::size_t n) {
  OUTLAST_ASSERT(end_ + n <= bytes_.size());
  end_ += n;
}

void FrameReader::append(std::string_view bytes) {
  std::copy(bytes.begin(), bytes.end(), prepare(bytes.size()));
  commit(bytes.size());
}

Result<std::optional<Frame>> FrameReader::peek() const {
  const std::string_view have = buffered();
  if (have.empty()) return std::optional<Frame>();
  const char type = have[0];
  if (!is_frontend_type(type))
    return Error(Errc::kProtocolViolation,
                 "invalid frontend message type " + std::to_string(static_cast<unsigned char>(type)));
  if (have.size() < kHeader) return std::optional<Frame>();
  const std::size_t length = Cursor(have.substr(1)).u32();
  if (length < 4 || length - 4 > max_)
    return Error(Errc::kProtocolViolation, "invalid message length " + std::to_string(length) + ": the limit is " +
                                               std::to_string(max_) + " bytes");
  if (have.size() < length + 1) return std::optional<Frame>();
  return std::optional<Frame>(Frame{type, have.substr(kHeader, length - 4)});
}

void FrameReader::consume() {
  skip(Cursor(buffered().substr(1)).u32() + 1);
}

char FrameReader::type_after_current() const {
  const std::string_view have = buffered();
  const std::size_t next = Cursor(have.substr(1)).u32() + 1;
  return next < have.size() ? have[next] : '\0';
}

void FrameReader::skip(std::size_t n) {
  OUTLAST_ASSERT(n <= end_ - begin_);
  begin_ += n;
}

namespace {
/// How many bytes at the begin are ASCII and not 0, eight at a time.
std::size_t plain_prefix(std::string_view text) {
  constexpr std::uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  std::size_t i = 0;
  for (std::uint64_t eight = 0; i + sizeof eight <= text.size(); i += sizeof eight) {
    std::memcpy(&eight, text.data() + i, sizeof eight);
    if (((eight | (eight - kOnes)) & kHigh) != 0) break;  // a borrow marks a 0
  }
  return i;
}
}  // namespace

bool is_valid_text(std::string_view text) {
  std::size_t i = plain_prefix(text);
  while (i < text.size()) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c == 0) return false;
    if (c < 0x80) {
      ++i;
      continue;
    }
    const std::size_t more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
    if (c < 0xc2 || c > 0xf4 || i + more >= text.size()) return false;
    std::uint32_t point = c & (0x3fu >> more);
    for (std::size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3fu);
    }
    if (more == 2 && (point < 0x800 || (point >= 0xd800 && point <= 0xdfff))) return false;
    if (more == 3 && (point < 0x10000 || point > 0x10ffff)) return false;
    i += more + 1;
  }
  return true;
}

}  // namespace outlast::sql::pgwire
