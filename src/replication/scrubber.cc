#include "replication/scrubber.h"

#include <algorithm>

namespace outlast::replication {
namespace {
constexpr std::size_t kPieceBytes = 256U << 10;  // between two of them commits and checkpoints have their turn
constexpr std::size_t kLeastBytes = 32U << 10;   // what a look at an empty replica counts for
}  // namespace

struct Scrubber::Pass {
  std::weak_ptr<HeldReplica> held;  // its files may go, or be replaced, between two pieces
  std::shared_ptr<storage::Scrub> scrub;
  bool log_done{false};
};

void Scrubber::set_rate(std::uint64_t rate) {
  rate_ = rate;
  if (rate_ == 0 && timer_ != 0) loop_.cancel(std::exchange(timer_, 0));
  if (rate_ != 0 && timer_ == 0 && !pass_) rest(kLeastBytes);
}

/// Waits as long as reading so much may take at the present rate.
void Scrubber::rest(std::size_t bytes) {
  if (rate_ == 0) return;
  const double seconds = static_cast<double>(std::max(bytes, kLeastBytes)) / static_cast<double>(rate_);
  timer_ = loop_.after(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds)), [this] {
    timer_ = 0;
    work();
  });
}

void Scrubber::work() {
  if (!pass_) {
    auto held = next_(last_);
    if (!held) {
      ++passes_;
      last_ = RangeId();
      return rest(kLeastBytes);
    }
    last_ = held->range;
    pass_ = std::make_shared<Pass>(Pass{held, held->replica->start_scrub()});
    if (!pass_->scrub) {
      pass_.reset();
      return rest(kLeastBytes);
    }
  }
  const auto done = [this, alive = std::weak_ptr(alive_), pass = pass_](Result<std::size_t> bytes) {
    if (!alive.expired() && pass == pass_) piece_done(pass, std::move(bytes));
  };
  const auto held = pass_->held.lock();
  if (!held || held->failed) {
    pass_.reset();
    return rest(kLeastBytes);
  }
  if (!pass_->log_done)
    held->log.run<std::size_t>([scrub = pass_->scrub](storage::Replica&) { return scrub->check_log(kPieceBytes); },
                               done);
  else
    held->node.on_worker<std::size_t>(
        held->range, [scrub = pass_->scrub] { return scrub->check_file(kPieceBytes); }, done);
}

void Scrubber::piece_done(const std::shared_ptr<Pass>& pass, Result<std::size_t> bytes) {
  const std::size_t read = bytes.ok() ? *bytes : 0;
  if (!bytes.ok()) {
    const Errc code = bytes.error().code;
    const auto held = pass->held.lock();
    if (held && (code == Errc::kCorrupt || code == Errc::kIo)) held->fail(bytes.error());
    pass_.reset();
  } else if (read == 0 && pass->log_done) {
    pass_.reset();
  } else if (read == 0) {
    pass->log_done = true;
  }
  rest(read);
}

}  // namespace outlast::replication
