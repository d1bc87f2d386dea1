// The WAL begins anew. SQLite does that by itself when a writer finds everything copied into the database file, which
// under steady load never happens: the next commit is there before the checkpoint has ended.
#include <unistd.h>

#include "storage/database_impl.h"
#include "storage/wal_collect.h"

namespace outlast::storage {
namespace {

constexpr std::uint64_t kRestartBytes = std::uint64_t{64} << 20;
constexpr int kPollMicros = 200;
constexpr int kWriterPolls = 1000;  // for an instant between two write transactions: nobody waits for us
constexpr int kReaderPolls = 25;    // for readers of the old frames: writers wait meanwhile

/// SQLite asks whether to go on waiting for a lock.
struct Waiting {
  sqlite3* connection;
  int writer{0}, readers{0};
  static int go_on(void* self, int) {
    auto* me = static_cast<Waiting*>(self);
    const bool writers_wait = shim_holds_write_lock(me->connection);
    if (writers_wait ? ++me->readers > kReaderPolls : ++me->writer > kWriterPolls) return 0;
    usleep(kPollMicros);
    return 1;
  }
};

}  // namespace

/// After a checkpoint. Copies the little that has come since, twice: the second time writers are kept out (they wait in
/// SQLite's busy handler), and the next one begins the WAL anew. It does not matter when that fails: the next
/// checkpoint tries again.
Result<LogPosition> DatabaseImpl::restart_long_wal(LogPosition mark) {
  if (shim_->wal_index.frames() * std::uint64_t{kFrameBytes} < kRestartBytes) return mark;
  TRY(shim_->sink.wait_all_durable());  // what is waited for with the lock held is then little
  ASSIGN_OR_RETURN(mark, checkpoint_locked());
  Waiting waiting{checkpointer_};
  sqlite3_busy_handler(checkpointer_, &Waiting::go_on, &waiting);
  auto all = checkpoint_locked(SQLITE_CHECKPOINT_RESTART);
  sqlite3_busy_handler(checkpointer_, nullptr, nullptr);
  return all;
}

}  // namespace outlast::storage
