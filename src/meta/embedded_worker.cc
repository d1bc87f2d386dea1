#include "meta/embedded_worker.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

namespace outlast::meta {
namespace {
constexpr auto kGiveWay = std::chrono::microseconds(250);  // to other processes, which retry when they are poked
}

Result<std::unique_ptr<EmbeddedWorker>> EmbeddedWorker::start(const std::filesystem::path& dir, EmbeddedOptions options,
                                                              EmbeddedSink& sink) {
  ASSIGN_OR_RETURN(std::unique_ptr<MetaFile> file, MetaFile::open(dir));
  ASSIGN_OR_RETURN(std::unique_ptr<PokeSocket> poke, PokeSocket::open(dir));
  const int wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (wake_fd < 0) return Error(Errc::kIo, "no eventfd for the metadata store; raise the limit of open files");
  return std::unique_ptr<EmbeddedWorker>(new EmbeddedWorker(options, sink, std::move(file), std::move(poke), wake_fd));
}

EmbeddedWorker::EmbeddedWorker(EmbeddedOptions options, EmbeddedSink& sink, std::unique_ptr<MetaFile> file,
                               std::unique_ptr<PokeSocket> poke, int wake_fd)
    : options_(options), sink_(sink), file_(std::move(file)), poke_(std::move(poke)), wake_fd_(wake_fd) {
  thread_ = std::thread([this] { run(); });
}

EmbeddedWorker::~EmbeddedWorker() {
  {
    std::lock_guard lock(mutex_);
    inbox_.stop = true;
  }
  wake();
  thread_.join();
  ::close(wake_fd_);
}

void EmbeddedWorker::wake() {
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then it is readable anyway.
  [[maybe_unused]] const auto written = ::write(wake_fd_, &one, sizeof one);
}

void EmbeddedWorker::submit(Txn txn, Duration timeout, Callback<TxnReply> done) {
  {
    std::lock_guard lock(mutex_);
    inbox_.requests.push_back({std::move(txn), Clock::now() + timeout, std::move(done), std::nullopt});
  }
  wake();
}

void EmbeddedWorker::add_watch(Store::WatchId id, std::string prefix) {
  {
    std::lock_guard lock(mutex_);
    inbox_.watches.push_back({.id = id, .prefix = std::move(prefix)});
  }
  wake();
}

void EmbeddedWorker::drop_watch(Store::WatchId id) {
  std::lock_guard lock(mutex_);
  inbox_.dropped.push_back(id);
}

void EmbeddedWorker::compact(std::uint64_t keep, Callback<Revision> done) {
  {
    std::lock_guard lock(mutex_);
    inbox_.compactions.push_back({keep, std::move(done)});
  }
  wake();
}

void EmbeddedWorker::run() {
  while (take_inbox()) {
    busy_ = false;
    if (!pending_.empty()) commit_group();
    if (!compactions_.empty() && !busy_) compact_all();
    if (pump_needed_) pump();
    wait();
  }
}

/// Sleeps until there is something to do: a request, a poke, the next look at the file.
void EmbeddedWorker::wait() {
  int wait_ms = static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(options_.poll).count());
  if (busy_)
    wait_ms = 1 + static_cast<int>(jitter_() % 4);  // the writer's poke usually ends it sooner
  else if (!pending_.empty() || !compactions_.empty())
    wait_ms = 0;
  pollfd fds[] = {{wake_fd_, POLLIN, 0}, {poke_->fd(), POLLIN, 0}};
  ::poll(fds, 2, wait_ms);
  std::uint64_t count = 0;
  [[maybe_unused]] const auto taken = ::read(wake_fd_, &count, sizeof count);
  if (poke_->drain()) pump_needed_ = true;
  const auto version = file_->data_version();
  if (version.ok() && *version != data_version_) {
    data_version_ = *version;
    pump_needed_ = true;
  }
}

bool EmbeddedWorker::take_inbox() {
  std::lock_guard lock(mutex_);
  if (inbox_.stop) return false;
  std::ranges::move(inbox_.requests, std::back_inserter(pending_));
  inbox_.requests.clear();
  if (!inbox_.watches.empty()) pump_needed_ = true;
  std::ranges::move(inbox_.watches, std::back_inserter(watches_));
  inbox_.watches.clear();
  for (const auto id : inbox_.dropped) std::erase_if(watches_, [&](const Watch& watch) { return watch.id == id; });
  inbox_.dropped.clear();
  std::ranges::move(inbox_.compactions, std::back_inserter(compactions_));
  inbox_.compactions.clear();
  return true;
}

/// Requests that never began are answered truthfully at their deadline: nothing was applied.
void EmbeddedWorker::expire(Clock::time_point now) {
  std::deque<Request> kept;
  for (Request& request : pending_) {
    if (now < request.deadline) {
      kept.push_back(std::move(request));
      continue;
    }
    set_connected(false);
    sink_.answer([done = std::move(request.done)]() mutable {
      done(Error(Errc::kMetaUnavailable,
                 "the metadata file was busy until the request's deadline; nothing was changed, try again"));
    });
  }
  pending_ = std::move(kept);
}

void EmbeddedWorker::commit_group() {
  expire(Clock::now());
  std::vector<Request> group;
  while (!pending_.empty() && group.size() < options_.batch_max) {
    group.push_back(std::move(pending_.front()));
    pending_.pop_front();
  }
  bool busy = false, changed = false;
  if (group.empty()) return;
  const Result<void> outcome = run_group(group, busy, changed);
  if (busy) {
    busy_ = true;
    pending_.insert(pending_.begin(), std::make_move_iterator(group.begin()), std::make_move_iterator(group.end()));
    return;
  }
  finish(group, outcome);
  if (!changed) return;
  poke_->poke_others();
  pump_needed_ = true;
  if (!pending_.empty()) std::this_thread::sleep_for(kGiveWay);
}

/// Runs the whole group in one SQLite transaction. An error speaks for every request of the group.
Result<void> EmbeddedWorker::run_group(std::vector<Request>& group, bool& busy, bool& changed) {
  const bool reads = std::ranges::all_of(group, [](const Request& request) { return is_read_only(request.txn); });
  if (reads) {
    TRY(file_->begin_read());  // needs no writer lock: reads go on while a stopped process holds it
  } else {
    ASSIGN_OR_RETURN(const MetaFile::Begin begin, file_->begin_write());
    busy = begin == MetaFile::Begin::kBusy;
    if (busy) return {};
  }
  auto before = file_->revision();
  if (!before.ok()) {
    file_->rollback();
    return std::move(before).error();
  }
  Revision revision = *before;
  for (Request& request : group) {
    run_one(request, revision);
    if (!file_->in_transaction()) return request.result->error();  // SQLite undid everything
  }
  Result<void> committed = revision == *before ? Result<void>() : file_->set_revision(revision);
  if (committed.ok()) committed = file_->commit();
  if (!committed.ok()) file_->rollback();
  changed = committed.ok() && revision != *before;
  return committed;
}

/// One request in a savepoint of its own: when it fails half-way, the rest of the group goes on.
void EmbeddedWorker::run_one(Request& request, Revision& revision) {
  if (is_read_only(request.txn)) {
    request.result = apply_txn(*file_, request.txn, revision);
    return;
  }
  if (auto begun = file_->savepoint(); !begun.ok()) {
    request.result = std::move(begun).error();
    return;
  }
  request.result = apply_txn(*file_, request.txn, revision);
  if (request.result->ok()) {
    if (auto released = file_->release(); released.ok())
      revision = (*request.result)->revision;
    else
      request.result = std::move(released).error();
  }
  if (request.result->ok() || !file_->in_transaction()) return;
  if (auto undone = file_->rollback_to_savepoint(); !undone.ok()) file_->rollback();
}

void EmbeddedWorker::finish(std::vector<Request>& group, const Result<void>& outcome) {
  for (Request& request : group) {
    Result<TxnReply> result = request.result ? *std::move(request.result) : Result<TxnReply>(TxnReply{});
    if (!outcome.ok()) {
      Error error = outcome.error();
      if (error.code != Errc::kMetaInDoubt || is_read_only(request.txn)) error.code = Errc::kMetaUnavailable;
      result = std::move(error);
    } else if (!result.ok()) {
      result.error().code = Errc::kMetaUnavailable;  // undone by its savepoint: certainly not applied
    }
    sink_.answer([done = std::move(request.done), result = std::move(result)]() mutable { done(std::move(result)); });
  }
  set_connected(outcome.ok());
}

void EmbeddedWorker::set_connected(bool connected) {
  if (connected_ == connected) return;
  connected_ = connected;
  sink_.connection(connected);
}

void EmbeddedWorker::compact_all() {
  while (!compactions_.empty()) {
    const auto begun = file_->begin_write();
    if (begun.ok() && *begun == MetaFile::Begin::kBusy) {
      busy_ = true;
      return;
    }
    Result<Revision> result = begun.ok() ? compact_one(compactions_.front().keep) : Result<Revision>(begun.error());
    file_->rollback();  // no effect after a commit
    if (!result.ok()) result.error().code = Errc::kMetaUnavailable;
    sink_.answer([done = std::move(compactions_.front().done), result = std::move(result)]() mutable {
      done(std::move(result));
    });
    compactions_.erase(compactions_.begin());
  }
}

Result<Revision> EmbeddedWorker::compact_one(std::uint64_t keep) {
  ASSIGN_OR_RETURN(const Revision now, file_->revision());
  ASSIGN_OR_RETURN(const Revision compacted, file_->compacted());
  if (now.value <= keep || now.value - keep <= compacted.value) return compacted;
  const Revision upto(now.value - keep);
  TRY(file_->forget(upto));
  TRY(file_->commit());
  return upto;
}

void EmbeddedWorker::pump() {
  pump_needed_ = false;
  if (watches_.empty()) return;
  Result<void> told = file_->begin_read();
  if (told.ok()) told = pump_in_transaction();
  file_->rollback();
  if (!told.ok()) pump_needed_ = true;  // tried again at the next look; nobody was told anything twice
}

/// Everything is read before anybody is told: an error half-way leaves every watch where it was.
Result<void> EmbeddedWorker::pump_in_transaction() {
  ASSIGN_OR_RETURN(const Revision now, file_->revision());
  ASSIGN_OR_RETURN(const Revision compacted, file_->compacted());
  std::optional<Revision> since;
  std::vector<std::pair<Watch*, std::vector<KeyValue>>> resets;
  for (Watch& watch : watches_) {
    if (!watch.started || watch.seen < compacted) {
      ASSIGN_OR_RETURN(std::vector<KeyValue> state, file_->scan(watch.prefix));
      resets.emplace_back(&watch, std::move(state));
    } else if (watch.seen < now) {
      since = since ? std::min(*since, watch.seen) : watch.seen;
    }
  }
  std::vector<Event> events;
  if (since) {
    ASSIGN_OR_RETURN(events, file_->changes(*since));
  }
  for (auto& [watch, state] : resets) {
    watch->started = true;
    watch->seen = now;
    sink_.deliver(watch->id,
                  {.kind = WatchBatch::Kind::kReset, .revision = now, .state = std::move(state), .events = {}});
  }
  for (Watch& watch : watches_) tell(watch, events, now);
  return {};
}

void EmbeddedWorker::tell(Watch& watch, const std::vector<Event>& events, Revision now) {
  WatchBatch batch;
  for (const Event& event : events) {
    const Revision revision = event.kv.mod_revision;
    if (revision <= watch.seen || !event.kv.key.starts_with(watch.prefix)) continue;
    if (revision != batch.revision && !batch.events.empty()) sink_.deliver(watch.id, std::exchange(batch, {}));
    batch.revision = revision;
    batch.events.push_back(event);
  }
  if (!batch.events.empty()) sink_.deliver(watch.id, std::move(batch));
  watch.seen = now;
}

}  // namespace outlast::meta
