#pragma once
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "ingest/pipeline.h"
#include "ingest/testing/batches.h"

namespace outlast::ingest::testing_support {

inline constexpr std::chrono::seconds kDeadline{30};

/// A sink that the test makes, whose chunks are due at once and come again at once.
inline SinkConfig quick_sink(const std::string& name, const std::string& match = "**") {
  SinkConfig config;
  config.kind = SinkKind::kTable;
  config.name = name;
  config.match = TagPattern::parse(match).value();
  config.buffer.limits.flush_interval = std::chrono::milliseconds(1);
  config.buffer.limits.retry.wait = std::chrono::milliseconds(1);
  config.buffer.limits.retry.max_interval = std::chrono::milliseconds(1);
  return config;
}

/// What a sink of a test got, and what it answers.
class Journal {
 public:
  Result<void> take(const Chunk& chunk) {
    std::unique_lock lock(mutex_);
    ++tries_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    if (!answers_.empty()) {
      auto answer = std::move(answers_.front());
      answers_.pop_front();
      if (!answer.ok()) return answer;
    }
    if (down_) return Error(Errc::kUnavailable, "down");
    TRY(chunk.each_batch([](std::string_view) { return Result<void>(); }));
    for (std::string& text : texts_of(chunk)) texts_.push_back(std::move(text));
    changed_.notify_all();
    return {};
  }
  void down(bool down) {
    const std::lock_guard lock(mutex_);
    down_ = down;
  }
  /// While held, nothing comes back from take().
  void hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void answer(Result<void> answer) {
    const std::lock_guard lock(mutex_);
    answers_.push_back(std::move(answer));
  }
  bool wait_tries(int tries) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kDeadline, [&] { return tries_ >= tries; });
  }
  bool wait_texts(std::size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kDeadline, [&] { return texts_.size() >= count; });
  }
  int tries() {
    const std::lock_guard lock(mutex_);
    return tries_;
  }
  std::vector<std::string> texts() {
    const std::lock_guard lock(mutex_);
    return texts_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Result<void>> answers_;
  bool down_{false}, held_{false};
  int tries_{0};
  std::vector<std::string> texts_;
};

class JournalSink final : public Sink {
 public:
  explicit JournalSink(Journal& journal) : journal_(journal) {}
  void write(std::shared_ptr<const Chunk> chunk, Callback<void> done) override { done(journal_.take(*chunk)); }
  void stop() override { journal_.hold(false); }

 private:
  Journal& journal_;
};

/// Every sink of a pipeline writes to the one journal, which outlives it.
inline SinkMaker sinks_into(Journal& journal) {
  return [&journal](const SinkConfig&, const Decoder&) {
    return std::unique_ptr<Sink>(std::make_unique<JournalSink>(journal));
  };
}

/// One answer to a put, waited for.
class Told {
 public:
  Callback<void> callback() {
    return [state = state_](Result<void> how) {
      const std::lock_guard lock(state->mutex);
      state->how = std::move(how);
      state->changed.notify_all();
    };
  }
  /// The code, or nullopt for success.
  std::optional<Errc> wait() {
    std::unique_lock lock(state_->mutex);
    EXPECT_TRUE(state_->changed.wait_for(lock, kDeadline, [this] { return state_->how.has_value(); }));
    return !state_->how ? Errc::kDeadline : state_->how->ok() ? std::optional<Errc>() : state_->how->error().code;
  }
  bool told() const {
    const std::lock_guard lock(state_->mutex);
    return state_->how.has_value();
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::optional<Result<void>> how;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace outlast::ingest::testing_support
