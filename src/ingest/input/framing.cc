#include "ingest/input/framing.h"

#include <algorithm>
#include <charconv>

namespace outlast::ingest {
namespace {
constexpr std::size_t kLengthDigitsMax = 10;

std::string_view without_return(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}
}  // namespace

std::string_view fault_mark(FrameFault fault) {
  switch (fault) {
    case FrameFault::kNone:
      return "";
    case FrameFault::kCut:
      return " [outlast: cut]";
    case FrameFault::kBroken:
      return " [outlast: broken frame]";
    case FrameFault::kTruncated:
      return " [outlast: truncated]";
  }
  return "";
}

Framer::Framer(Framing framing, std::size_t record_max) : record_max_(std::max<std::size_t>(record_max, 1)) {
  state_.framing = framing;
}

Framer::Framer(FramingState state, std::size_t record_max)
    : state_(std::move(state)), record_max_(std::max<std::size_t>(record_max, 1)) {
  if (state_.phase != Phase::kBody) return;
  // A predecessor with a higher limit may have kept more than ours: that record is cut here.
  record_max_ = std::max(record_max_, state_.unfinished.size() + 1);
  if (state_.left == 0) state_.phase = Phase::kStart;
}

void Framer::feed(std::string_view bytes, FrameSink& sink) {
  while (!bytes.empty()) {
    switch (state_.phase) {
      case Phase::kStart:
        start(bytes);
        break;
      case Phase::kLine:
        line(bytes, sink);
        break;
      case Phase::kSkipLine:
        skip_line(bytes);
        break;
      case Phase::kBody:
        body(bytes, sink);
        break;
      case Phase::kSkipBody: {
        const std::uint64_t n = std::min<std::uint64_t>(state_.left, bytes.size());
        bytes.remove_prefix(n);
        state_.left -= n;
        if (state_.left == 0) end_record();
        break;
      }
    }
  }
}

// A length, if there is one; otherwise the bytes that looked like one begin a line.
void Framer::start(std::string_view& bytes) {
  if (state_.framing == Framing::kNewline) return begin_line(false);
  while (!bytes.empty() && state_.phase == Phase::kStart) {
    if (!count(bytes.front())) return;
    bytes.remove_prefix(1);
  }
}

// False: the byte is not the length's.
bool Framer::count(char c) {
  std::string& length = state_.unfinished;
  if (length.ends_with(' ')) {  // kAuto only: what is counted tells
    if (c != '<') return begin_line(false), false;
    length.pop_back();
    return count_ended(), false;
  }
  if (length.empty() && (c == '\n' || c == '\r')) return true;  // some senders put one between counted records
  if (c >= '0' && c <= '9' && length.size() < kLengthDigitsMax && (c != '0' || !length.empty()))
    return length.push_back(c), true;
  if (c != ' ' || length.empty()) return begin_line(state_.framing == Framing::kOctetCounted), false;
  if (state_.framing == Framing::kAuto) return length.push_back(c), true;
  return count_ended(), true;
}

void Framer::count_ended() {
  const std::string& length = state_.unfinished;
  std::from_chars(length.data(), length.data() + length.size(), state_.left);
  state_.framing = Framing::kOctetCounted;
  state_.unfinished.clear();
  state_.phase = Phase::kBody;
}

void Framer::begin_line(bool broken) {
  if (state_.framing == Framing::kAuto) state_.framing = Framing::kNewline;
  state_.broken = broken;
  state_.phase = Phase::kLine;
}

void Framer::line(std::string_view& bytes, FrameSink& sink) {
  const std::size_t end = bytes.find('\n');
  const std::string_view piece = bytes.substr(0, end);
  bytes.remove_prefix(std::min(bytes.size(), piece.size() + 1));
  if (end != std::string_view::npos && state_.unfinished.empty()) return end_line(piece, sink);
  // One more byte than a record may have, for a CR; beyond that nothing is needed.
  const std::size_t room = record_max_ + 2 - std::min(record_max_ + 2, state_.unfinished.size());
  state_.unfinished.append(piece.substr(0, room));
  if (end != std::string_view::npos) {
    const std::string whole = std::move(state_.unfinished);
    return end_line(whole, sink);
  }
  if (state_.unfinished.size() <= record_max_ + 1) return;
  sink.record(std::string_view(state_.unfinished).substr(0, record_max_), FrameFault::kCut);
  state_.unfinished.clear();
  state_.phase = Phase::kSkipLine;
}

void Framer::end_line(std::string_view whole, FrameSink& sink) {
  whole = without_return(whole);
  if (whole.size() > record_max_)
    sink.record(whole.substr(0, record_max_), FrameFault::kCut);
  else if (!whole.empty())
    sink.record(whole, state_.broken ? FrameFault::kBroken : FrameFault::kNone);
  end_record();
}

void Framer::skip_line(std::string_view& bytes) {
  const std::size_t end = bytes.find('\n');
  if (end == std::string_view::npos) return bytes = {}, void();
  bytes.remove_prefix(end + 1);
  end_record();
}

void Framer::body(std::string_view& bytes, FrameSink& sink) {
  const std::size_t come = std::min<std::uint64_t>(state_.left, bytes.size());
  const std::size_t keep = std::min(come, record_max_ - state_.unfinished.size());
  const bool cut = state_.left > record_max_ - state_.unfinished.size();
  const bool ends = keep == (cut ? record_max_ - state_.unfinished.size() : state_.left);
  const std::string_view piece = bytes.substr(0, keep);
  bytes.remove_prefix(keep);
  state_.left -= keep;
  if (!ends) return state_.unfinished.append(piece), void();
  if (!state_.unfinished.empty()) state_.unfinished.append(piece);
  sink.record(state_.unfinished.empty() ? piece : std::string_view(state_.unfinished),
              cut ? FrameFault::kCut : FrameFault::kNone);
  state_.unfinished.clear();
  if (cut)
    state_.phase = Phase::kSkipBody;
  else
    end_record();
}

void Framer::end_record() {
  state_.unfinished.clear();
  state_.broken = false;
  state_.left = 0;
  state_.phase = Phase::kStart;
}

void Framer::finish(FrameSink& sink) {
  const std::string whole = std::move(state_.unfinished);
  const bool counted = state_.framing == Framing::kOctetCounted && !state_.broken;
  if (state_.phase == Phase::kLine || (state_.phase == Phase::kStart && !counted))
    end_line(whole, sink);
  else if (!whole.empty())
    sink.record(std::string_view(whole).substr(0, record_max_), FrameFault::kTruncated);
  end_record();
}

}  // namespace outlast::ingest
