#include "replication/request_window.h"

#include <algorithm>

namespace outlast::replication {

using storage::LogPosition;
using storage::RequestOutcome;

namespace {
constexpr std::size_t kEntryBytes = 192;       // about what an id costs, without its texts
constexpr std::size_t kPoisonedMax = 1 << 16;  // then questions are left open instead
constexpr std::chrono::seconds kSweepEvery{1}, kFillEvery{1};
}  // namespace

void RequestMemory::sweep(Instant now) {
  const std::lock_guard lock(mutex);
  if (now - swept < kSweepEvery) return;
  swept = now;
  for (RequestWindow* window : windows) window->evict(now);
}

RequestWindow::RequestWindow(std::shared_ptr<RequestMemory> memory, const LogPosition& end, Instant now)
    : memory_(std::move(memory)), forgotten_{end.lsn, end.epoch, now} {
  const std::lock_guard lock(memory_->mutex);
  memory_->windows.insert(this);
}

RequestWindow::~RequestWindow() {
  {
    const std::lock_guard lock(memory_->mutex);
    memory_->windows.erase(this);
  }
  while (!kept_.empty()) drop_front();
}

std::size_t RequestWindow::bytes_of(const Kept& kept) {
  return kEntryBytes + kept.outcome.tag.size() + kept.outcome.result.size();
}

void RequestWindow::push(Kept kept) {
  memory_->bytes.fetch_add(bytes_of(kept), std::memory_order_relaxed);
  index_[id_of(kept.outcome)] = kept.lsn;
  kept_.push_back(std::move(kept));
}

void RequestWindow::drop_front() {
  const Kept& oldest = kept_.front();
  memory_->bytes.fetch_sub(bytes_of(oldest), std::memory_order_relaxed);
  if (const auto it = index_.find(id_of(oldest.outcome)); it != index_.end() && it->second == oldest.lsn)
    index_.erase(it);
  kept_.pop_front();
}

void RequestWindow::drop_above(Lsn lsn) {
  while (!kept_.empty() && kept_.back().lsn > lsn) {
    const Kept& last = kept_.back();
    memory_->bytes.fetch_sub(bytes_of(last), std::memory_order_relaxed);
    if (const auto it = index_.find(id_of(last.outcome)); it != index_.end() && it->second == last.lsn)
      index_.erase(it);
    kept_.pop_back();
  }
  forgotten_.lsn = std::min(forgotten_.lsn, lsn);
}

void RequestWindow::evict_locked(Instant now) {
  while (!kept_.empty() && (now - kept_.front().learned >= memory_->keep || memory_->full())) {
    const Kept& oldest = kept_.front();
    forgotten_ = {oldest.lsn, oldest.epoch, std::max(forgotten_.learned, oldest.learned)};
    drop_front();
  }
}

void RequestWindow::evict(Instant now) {
  const std::lock_guard lock(mutex_);
  evict_locked(now);
}

void RequestWindow::note(const storage::LogEntry& entry, Instant now) {
  auto outcome = memory_->request_of(entry.payload);
  if (memory_->nearly_full()) memory_->sweep(now);
  const std::lock_guard lock(mutex_);
  if (!memory_->bugs.cut_request_kept) drop_above(Lsn(entry.at.lsn.value - 1));
  if (!outcome.ok()) {  // the entry is damaged or newer than this program; applying it will say so
    while (!kept_.empty()) drop_front();
    forgotten_ = {entry.at.lsn, entry.at.epoch, now};
    return;
  }
  if (id_of(*outcome)) push({entry.at.lsn, entry.at.epoch, now, *std::move(outcome)});
  evict_locked(now);
}

void RequestWindow::cut(Lsn lsn) {
  const std::lock_guard lock(mutex_);
  if (!memory_->bugs.cut_request_kept) drop_above(lsn);
}

Result<void> RequestWindow::accepts(const RequestId& id) const {
  const std::lock_guard lock(mutex_);
  if (poisoned_.contains(id))
    return Error(Errc::kStaleEpoch, "the request came too late: its sender was told that it is not applied");
  return {};
}

Result<void> RequestWindow::assign(const LogPosition& at, RequestOutcome outcome, Instant now) {
  const RequestId id = id_of(outcome);
  if (!id) return {};
  if (memory_->nearly_full()) memory_->sweep(now);
  const std::lock_guard lock(mutex_);
  if (poisoned_.contains(id))
    return Error(Errc::kStaleEpoch, "the request came too late: its sender was told that it is not applied");
  if (find(id) != nullptr) return Error(Errc::kInvalidState, "a request with this id was committed before");
  push({at.lsn, at.epoch, now, std::move(outcome)});
  evict_locked(now);
  return {};
}

const RequestWindow::Kept* RequestWindow::find(const RequestId& id) const {
  const auto it = index_.find(id);
  if (it == index_.end()) return nullptr;
  const auto at = std::ranges::lower_bound(kept_, it->second, {}, &Kept::lsn);
  return at != kept_.end() && at->lsn == it->second ? &*at : nullptr;
}

RequestWindow::Told RequestWindow::ask(const RequestQuestion& question, Epoch epoch, Instant now) {
  const std::lock_guard lock(mutex_);
  Told told;
  if (const Kept* kept = find(question.id)) {
    told.answer = {RequestAnswer::Kind::kApplied, kept->lsn, kept->outcome, true, {}};
    return told;
  }
  if (question.addressed == epoch && !memory_->bugs.request_not_poisoned) {
    if (poisoned_epoch_ != epoch) poisoned_.clear();
    poisoned_epoch_ = epoch;
    if (poisoned_.size() >= kPoisonedMax) return told;  // neither certain nor covered
    poisoned_.insert(question.id);
  }
  // An entry of the addressed epoch lies above all entries of earlier ones, and above what was durable before it.
  told.answer.certain =
      memory_->bugs.forgotten_is_absent || forgotten_.epoch < question.addressed || forgotten_.lsn <= question.after;
  told.answer.covered = now - forgotten_.learned;
  const bool likely_old = question.age >= told.answer.covered / 2;
  told.older_may_tell = !told.answer.certain && likely_old && now - filled_ >= kFillEvery;
  return told;
}

void RequestWindow::fill(const LogPosition& start, Lsn end, std::vector<Entry> older, Instant now) {
  const std::lock_guard lock(mutex_);
  filled_ = now;
  if (end < forgotten_.lsn) return;
  const Lsn upto = forgotten_.lsn;
  std::erase_if(older, [upto](const Entry& entry) { return entry.first.lsn > upto || !id_of(entry.second); });
  Forgotten rest{start.lsn, start.epoch, forgotten_.learned};
  for (; !older.empty(); older.pop_back()) {
    auto& [at, outcome] = older.back();
    if (memory_->full()) {
      rest = {at.lsn, at.epoch, forgotten_.learned};
      break;
    }
    Kept kept{at.lsn, at.epoch, now, std::move(outcome)};
    memory_->bytes.fetch_add(bytes_of(kept), std::memory_order_relaxed);
    index_[id_of(kept.outcome)] = kept.lsn;
    kept_.push_front(std::move(kept));
  }
  if (rest.lsn < forgotten_.lsn) forgotten_ = rest;
}

RequestWindow::Forgotten RequestWindow::forgotten() const {
  const std::lock_guard lock(mutex_);
  return forgotten_;
}

std::size_t RequestWindow::size() const {
  const std::lock_guard lock(mutex_);
  return kept_.size();
}

}  // namespace outlast::replication
