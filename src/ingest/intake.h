#pragma once
#include <functional>
#include <string>

#include "base/loop.h"
#include "ingest/buffer/chunk.h"

namespace outlast::ingest {

/// When a sender is told that its records are safe.
enum class Ack : std::uint8_t {
  kReceived,  ///< Read from the socket.
  kBuffered,  ///< In the chunk buffer, as durably as that is configured.
  kStored,    ///< In every sink.
};

/// Records that their sender gave an id: the same id means the same records, for ever.
struct NamedChunk {
  ChunkId id;
  std::string tag;
  RecordForm form{RecordForm::kAsCame};
};

/// Where inputs put what they read: the way to the buffers of the sinks that the input's tag is routed to.
/// Thread-safety: any thread. Lifetime: outlives the inputs.
class Intake {
 public:
  virtual ~Intake() = default;
  enum class Taken : std::uint8_t {
    kYes,
    kWait,     ///< Full, and overflow_action is `block`: keep the batch, stop reading, come again after on_room().
    kRefused,  ///< Full, and overflow_action is `reject`: counted; the sender is told where its protocol can tell.
  };
  /// Takes the batch, all of it or nothing of it; what is not taken is left in `batch`. `done` runs when `ack` is
  /// reached, on any thread, inline too; an error says that it never will be, and why. It is dropped unless kYes.
  virtual Taken put(const std::string& tag, RecordBatch& batch, Ack ack, Callback<void> done) = 0;
  /// The same for records that came under an id. They stay together, and keep the id on their way. A sink that has
  /// them, or had them lately, gets them no second time: `done` then runs as soon as the first ones have reached `ack`.
  virtual Taken put_named(const NamedChunk& chunk, RecordBatch& batch, Ack ack, Callback<void> done) = 0;
  /// Calls back once when there may be room again, at once if there is.
  virtual void on_room(Task room) = 0;
};

}  // namespace outlast::ingest
