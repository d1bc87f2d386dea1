#pragma once
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ingest/buffer/chunk_buffer.h"

namespace outlast::ingest {

/// A chunk in its buffer.
struct ChunkBuffer::Held {
  std::shared_ptr<Chunk> chunk;
  Side* side{nullptr};  ///< Whose room it takes.
  Phase phase{Phase::kOrdinary};
  bool lasting{false};
  Instant since{}, due{};
  Order order{0};
  bool sealed{false}, dirty{false}, syncing{false};
  bool doubtful{false};                ///< A sync failed: nobody is told that it is durable.
  std::vector<Callback<void>> stored;  ///< Those who wait until the sink has it.
};

/// A batch that was promised room which the disk then did not give.
struct ChunkBuffer::Parked {
  std::string tag;
  RecordBatch batch;
  Phase phase{Phase::kOrdinary};
  Ack ack{Ack::kReceived};
  Callback<void> done;
  std::optional<NamedChunk> name;
};

/// What is to be called when the lock is gone: made before it is taken.
class ChunkBuffer::Calls {
 public:
  Calls() = default;
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;
  void add(Callback<void> done, Result<void> how) { done_.emplace_back(std::move(done), std::move(how)); }
  void add(const std::function<void()>& hook) { hooks_.push_back(&hook); }
  ~Calls() {
    for (auto& [done, how] : done_)
      if (done) done(std::move(how));
    for (const auto* hook : hooks_)
      if (*hook) (*hook)();
  }

 private:
  std::vector<std::pair<Callback<void>, Result<void>>> done_;
  std::vector<const std::function<void()>*> hooks_;
};

}  // namespace outlast::ingest
