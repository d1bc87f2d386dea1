#pragma once
#include <sqlite3.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/loop.h"
#include "replication/leased_range.h"

/// Fakes for the tests of executor and gateway: a range over one plain SQLite file, whose durability, gate, leadership
/// and refusals the test moves by hand.
namespace outlast::executor::testing {

class ManualClock final : public Clock {
 public:
  Instant now() const override { return Instant(Duration(ns_.load())); }
  std::int64_t wall_micros() const override { return 0; }
  void advance(Duration d) { ns_.fetch_add(d.count()); }

 private:
  std::atomic<std::int64_t> ns_{1'000'000'000};
};

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "outlast-exec-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// First come, first served. Deadlines are left to the executor's sweep.
class FakeWriterLock final : public replication::WriterLock {
 public:
  std::uint64_t acquire(Instant, bool first, Callback<Hold> done) override {
    std::unique_lock lock(state_->mutex);
    const std::uint64_t ticket = ++state_->next_ticket;
    if (state_->over) {
      lock.unlock();
      done(Error(Errc::kNotLeaseholder, "over"));
      return ticket;
    }
    if (!state_->held) {
      state_->held = true;
      lock.unlock();
      done(make_hold(state_));
      return ticket;
    }
    if (first)
      state_->waiting.push_front({ticket, std::move(done)});
    else
      state_->waiting.push_back({ticket, std::move(done)});
    state_->changed.notify_all();
    return ticket;
  }
  void withdraw(std::uint64_t ticket) override {
    std::optional<Callback<Hold>> gone;
    {
      const std::lock_guard lock(state_->mutex);
      for (auto it = state_->waiting.begin(); it != state_->waiting.end(); ++it) {
        if (it->ticket != ticket) continue;
        gone = std::move(it->done);
        state_->waiting.erase(it);
        break;
      }
    }
    if (gone) (*gone)(Error(Errc::kCancelled, "withdrawn"));
  }
  std::size_t waiters() const override {
    const std::lock_guard lock(state_->mutex);
    return state_->waiting.size();
  }
  bool held() const {
    const std::lock_guard lock(state_->mutex);
    return state_->held;
  }
  /// Blocks until so many wait; false after five seconds.
  bool wait_waiters(std::size_t n) {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, std::chrono::seconds(5), [&] { return state_->waiting.size() >= n; });
  }
  /// Blocks until nobody holds it.
  bool wait_free() {
    std::unique_lock lock(state_->mutex);
    return state_->changed.wait_for(lock, std::chrono::seconds(5), [&] { return !state_->held; });
  }
  void end() {
    std::deque<Waiter> all;
    {
      const std::lock_guard lock(state_->mutex);
      state_->over = true;
      all.swap(state_->waiting);
    }
    for (Waiter& waiter : all) waiter.done(Error(Errc::kNotLeaseholder, "over"));
  }

 private:
  struct Waiter {
    std::uint64_t ticket;
    Callback<Hold> done;
  };
  struct State {
    mutable std::mutex mutex;
    std::condition_variable changed;
    bool held{false}, over{false};
    std::uint64_t next_ticket{0};
    std::deque<Waiter> waiting;
  };
  static Hold make_hold(const std::shared_ptr<State>& state) {
    return Hold(std::shared_ptr<void>(state.get(), [state](void*) { pass_on(state); }));
  }
  static void pass_on(const std::shared_ptr<State>& state) {
    std::optional<Waiter> next;
    {
      const std::lock_guard lock(state->mutex);
      if (state->waiting.empty()) {
        state->held = false;
      } else {
        next = std::move(state->waiting.front());
        state->waiting.pop_front();
      }
      state->changed.notify_all();
    }
    if (next) next->done(make_hold(state));
  }
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

class FakeRange final : public replication::LeasedRange, public storage::Database {
 public:
  FakeRange(RangeId id, Epoch epoch, std::string path) : id_(id), epoch_(epoch), path_(std::move(path)) {
    sqlite3* db = nullptr;
    sqlite3_open(path_.c_str(), &db);
    sqlite3_exec(db, "PRAGMA journal_mode=wal", nullptr, nullptr, nullptr);
    sqlite3_close(db);
  }

  // --- What the test moves.
  std::atomic<bool> auto_confirm{false};
  std::atomic<bool> auto_durable{true}, allow_reads{true}, moving{false}, over{false}, assign_then_fail{false},
      forgetful{false};  ///< "Absent" is not certain but for the last ten seconds.
  std::atomic<bool> at_once{false};
  std::atomic<std::uint64_t> wal{0};
  std::atomic<int> connections{0};

  void set_durable(Lsn lsn) {
    std::vector<Waiter> done;
    {
      const std::lock_guard lock(mutex_);
      durable_ = std::max(durable_, lsn);
      std::erase_if(waiters_, [&](Waiter& w) {
        if (w.lsn > durable_) return false;
        done.push_back(std::move(w));
        return true;
      });
    }
    for (Waiter& w : done) w.done({});
  }
  void make_all_durable() { set_durable(assigned()); }
  /// The other members' answer to all reads that wait for it.
  void confirm(const Result<void>& outcome) {
    std::vector<Callback<void>> reads;
    {
      const std::lock_guard lock(mutex_);
      reads.swap(reads_);
    }
    for (auto& done : reads) done(outcome);
  }
  /// Blocks until so many reads wait to be confirmed.
  bool wait_unconfirmed(std::size_t n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(5), [&] { return reads_.size() >= n; });
  }
  /// The leadership ends: waiters, later commits and new work fail.
  void end_leadership() {
    over = true;
    refuse_commits(Error(Errc::kNotLeaseholder, "the leadership is over"));
    lock_.end();
    std::vector<Waiter> all;
    {
      const std::lock_guard lock(mutex_);
      all.swap(waiters_);
    }
    for (Waiter& w : all) w.done(Error(Errc::kRangeUnavailable, "the leadership ended first"));
    confirm(Error(Errc::kNotLeaseholder, "the leadership ended first"));
  }
  /// Who waits as a reader is told `read`, who waits as a writer `write`.
  void fail_waiters(const Error& read, const Error& write) {
    std::vector<Waiter> all;
    {
      const std::lock_guard lock(mutex_);
      all.swap(waiters_);
    }
    for (Waiter& w : all) w.done(w.who == replication::Waits::kRead ? read : write);
  }
  void refuse_writes(std::optional<Error> why) {
    const std::lock_guard lock(mutex_);
    write_refusal_ = std::move(why);
  }
  void refuse_commits(Error why) {
    const std::lock_guard lock(mutex_);
    refusal_ = std::move(why);
  }
  bool wait_gated(std::size_t n) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(5), [&] { return waiters_.size() >= n; });
  }
  storage::RequestOutcome last_request() {
    const std::lock_guard lock(mutex_);
    return last_request_;
  }
  std::optional<replication::RequestQuestion> last_question() {
    const std::lock_guard lock(mutex_);
    return last_question_;
  }
  FakeWriterLock& lock() { return lock_; }

  // --- LeasedRange
  RangeId id() const override { return id_; }
  Epoch epoch() const override { return epoch_; }
  storage::Database& database() override { return *this; }
  replication::WriterLock& writer_lock() override { return lock_; }
  Result<void> admit() const override {
    if (over) return Error(Errc::kNotLeaseholder, "the leadership is over");
    if (moving) return Error(Errc::kMoving, "the lease is moving");
    return {};
  }
  Result<void> admit_write() const override {
    TRY(admit());
    const std::lock_guard lock(mutex_);
    if (write_refusal_) return *write_refusal_;
    return {};
  }
  bool closes_at_once() const override { return at_once; }
  Lsn assigned() const override {
    const std::lock_guard lock(mutex_);
    return assigned_;
  }
  Lsn durable() const override {
    const std::lock_guard lock(mutex_);
    return durable_;
  }
  void wait_durable(Lsn lsn, replication::Waits who, Callback<void> done) override {
    {
      const std::lock_guard lock(mutex_);
      if (lsn > durable_ && !over) {
        waiters_.push_back({lsn, who, std::move(done)});
        changed_.notify_all();
        return;
      }
    }
    over ? done(Error(Errc::kRangeUnavailable, "the leadership ended first")) : done({});
  }
  bool reads_allowed(Instant) const override { return allow_reads; }
  void confirm_reads(Callback<void> done) override {
    {
      const std::lock_guard lock(mutex_);
      if (!over && !auto_confirm) {
        reads_.push_back(std::move(done));
        changed_.notify_all();
        return;
      }
    }
    over ? done(Error(Errc::kNotLeaseholder, "the leadership ended first")) : done({});
  }
  Result<void> accepts(const replication::RequestId& id) const override {
    const std::lock_guard lock(mutex_);
    if (poisoned_.contains(id)) return Error(Errc::kStaleEpoch, "poisoned");
    return {};
  }
  void resolve(const replication::RequestQuestion& question, Callback<replication::RequestAnswer> done) override {
    using Kind = replication::RequestAnswer::Kind;
    replication::RequestAnswer answer;
    {
      const std::lock_guard lock(mutex_);
      last_question_ = question;
      if (const auto it = outcomes_.find(question.id); it != outcomes_.end())
        answer = {Kind::kApplied, it->second.first, it->second.second, true, {}};
      else if (question.addressed == epoch_)
        poisoned_.insert(question.id);
      answer.certain = !forgetful;
      answer.covered = std::chrono::seconds(10);
    }
    if (answer.kind == Kind::kAbsent) return done(std::move(answer));
    const Lsn lsn = answer.lsn;
    wait_durable(lsn, replication::Waits::kWrite,
                 [answer = std::move(answer), done = std::move(done)](Result<void> durable) mutable {
                   durable.ok() ? done(std::move(answer)) : done(std::move(durable).error());
                 });
  }

  // --- Database
  Result<std::unique_ptr<storage::Connection>> connect() override;
  Result<Lsn> checkpoint() override { return Lsn(); }
  Result<std::shared_ptr<storage::Database>> durable_view(Lsn) override {
    return Error(Errc::kInternal, "the fake has no views");
  }
  std::uint64_t wal_bytes() const override { return wal; }
  void fence() override {}

 private:
  friend class FakeConnection;
  struct Waiter {
    Lsn lsn;
    replication::Waits who;
    Callback<void> done;
  };
  /// Before readers can see the commit, as the shim does it.
  bool assign(const storage::RequestOutcome& request, Lsn& lsn, Error& why) {
    const std::lock_guard lock(mutex_);
    if (refusal_) {
      why = *refusal_;
      return false;
    }
    const replication::RequestId id = replication::id_of(request);
    if (poisoned_.contains(id)) {
      why = Error(Errc::kStaleEpoch, "poisoned");
      return false;
    }
    last_request_ = request;
    lsn = assigned_ = assigned_.next();
    outcomes_[id] = {lsn, request};
    if (auto_durable) durable_ = assigned_;
    return true;
  }

  const RangeId id_;
  const Epoch epoch_;
  const std::string path_;
  FakeWriterLock lock_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Lsn assigned_, durable_;
  std::vector<Waiter> waiters_;
  std::vector<Callback<void>> reads_;
  std::optional<Error> refusal_, write_refusal_;
  storage::RequestOutcome last_request_;
  std::unordered_map<replication::RequestId, std::pair<Lsn, storage::RequestOutcome>> outcomes_;
  std::unordered_set<replication::RequestId> poisoned_;
  std::optional<replication::RequestQuestion> last_question_;
};

class FakeConnection final : public storage::Connection {
 public:
  explicit FakeConnection(FakeRange& range) : range_(range) {
    sqlite3_open_v2(range.path_.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
    sqlite3_exec(db_, "PRAGMA synchronous=off; PRAGMA wal_autocheckpoint=0; PRAGMA foreign_keys=on", nullptr, nullptr,
                 nullptr);
    sqlite3_commit_hook(db_, &FakeConnection::on_commit, this);
    sqlite3_wal_hook(db_, &FakeConnection::on_wal, this);
    ++range_.connections;
  }
  ~FakeConnection() override {
    sqlite3_close(db_);
    --range_.connections;
  }
  sqlite3* raw() override { return db_; }
  void set_request(storage::RequestOutcome request) override { request_ = std::move(request); }
  Lsn take_commit_lsn() override { return std::exchange(lsn_, Lsn()); }
  Error take_commit_error() override { return std::exchange(error_, Error()); }
  void interrupt() override { sqlite3_interrupt(db_); }

 private:
  static int on_commit(void* self) {
    auto* me = static_cast<FakeConnection*>(self);
    if (!me->range_.assign(me->request_, me->pending_, me->error_)) return 1;
    if (me->range_.assign_then_fail) {  // logged, and then SQLite fails
      me->lsn_ = me->pending_;
      return 1;
    }
    return 0;
  }
  static int on_wal(void* self, sqlite3*, const char*, int) {  // only when frames were written
    auto* me = static_cast<FakeConnection*>(self);
    me->lsn_ = me->pending_;
    return SQLITE_OK;
  }
  FakeRange& range_;
  sqlite3* db_{nullptr};
  storage::RequestOutcome request_;
  Lsn pending_, lsn_;
  Error error_;
};

inline Result<std::unique_ptr<storage::Connection>> FakeRange::connect() {
  return std::unique_ptr<storage::Connection>(std::make_unique<FakeConnection>(*this));
}

/// Knows one range, or none.
class FakeDirectory final : public replication::LeaseDirectory {
 public:
  Result<replication::LeasedRangePtr> find(RangeId id, Epoch epoch) const override {
    const std::lock_guard lock(mutex_);
    if (!range_ || range_->id() != id || range_->epoch() != epoch)
      return Error(Errc::kNotLeaseholder, "this node does not lead the range in that epoch");
    return range_;
  }
  void set(replication::LeasedRangePtr range) {
    const std::lock_guard lock(mutex_);
    range_ = std::move(range);
  }

 private:
  mutable std::mutex mutex_;
  replication::LeasedRangePtr range_;
};

}  // namespace outlast::executor::testing
