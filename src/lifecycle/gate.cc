#include "lifecycle/gate.h"

namespace outlast::lifecycle {
namespace {
constexpr std::size_t at(WorkKind kind) {
  return static_cast<std::size_t>(kind);
}
constexpr std::size_t at(Outcome outcome) {
  return static_cast<std::size_t>(outcome);
}

/// Threads are dealt over the shards in the order in which they first come.
std::size_t thread_number() {
  static std::atomic<std::size_t> next{0};
  thread_local const std::size_t mine = next.fetch_add(1, std::memory_order_relaxed);
  return mine;
}
}  // namespace

Ticket& Ticket::operator=(Ticket&& other) noexcept {
  if (this != &other) {
    end(Outcome::kCancelled);
    gate_ = std::exchange(other.gate_, nullptr);
    kind_ = other.kind_;
  }
  return *this;
}

void Ticket::end(Outcome outcome) {
  if (gate_ == nullptr) return;
  // Release: whoever sees this end in the sum also sees what the work did before it.
  gate_->mine().counts[at(kind_)].ended[at(outcome)].fetch_add(1, std::memory_order_release);
  gate_ = nullptr;
}

Gate::Gate() = default;

Gate::Shard& Gate::mine() {
  return shards_[thread_number() % kShards];
}

/// Counts first and asks then: either this sees that the gate was closed, or close()'s caller sees the count. Both are
/// sequentially consistent for that.
Result<Ticket> Gate::admit(WorkKind kind) {
  Counts& counts = mine().counts[at(kind)];
  counts.admitted.fetch_add(1, std::memory_order_seq_cst);
  if (!closed_[at(kind)].load(std::memory_order_seq_cst)) [[likely]]
    return Ticket(this, kind);
  counts.admitted.fetch_sub(1, std::memory_order_seq_cst);
  counts.refused.fetch_add(1, std::memory_order_relaxed);
  return refusal_of(kind);
}

Ticket Gate::take_over(WorkKind kind) {
  mine().counts[at(kind)].admitted.fetch_add(1, std::memory_order_seq_cst);
  return Ticket(this, kind);
}

Error Gate::refusal_of(WorkKind kind) const {
  const std::lock_guard lock(mutex_);
  return refusals_[at(kind)];
}

void Gate::close(WorkKind kind, Error refusal) {
  const std::lock_guard lock(mutex_);
  refusals_[at(kind)] = std::move(refusal);
  closed_[at(kind)].store(true, std::memory_order_seq_cst);
}

void Gate::open(WorkKind kind) {
  closed_[at(kind)].store(false, std::memory_order_seq_cst);
}

bool Gate::is_open(WorkKind kind) const {
  return !closed_[at(kind)].load(std::memory_order_seq_cst);
}

/// Ends are read before beginnings: work that ends on one shard while another one is being read can only look open for
/// too long, never ended before it began.
Ledger Gate::ledger() const {
  Ledger out;
  for (const Shard& shard : shards_)
    for (std::size_t kind = 0; kind < kWorkKinds; ++kind)
      for (std::size_t outcome = 0; outcome < kOutcomes; ++outcome)
        out.lines[kind].ended[outcome] += shard.counts[kind].ended[outcome].load(std::memory_order_acquire);
  for (const Shard& shard : shards_)
    for (std::size_t kind = 0; kind < kWorkKinds; ++kind) {
      out.lines[kind].admitted += shard.counts[kind].admitted.load(std::memory_order_seq_cst);
      out.lines[kind].refused += shard.counts[kind].refused.load(std::memory_order_relaxed);
    }
  return out;
}

Ledger Ledger::since(const Ledger& earlier) const {
  Ledger out = *this;
  for (std::size_t kind = 0; kind < kWorkKinds; ++kind) {
    out.lines[kind].admitted -= earlier.lines[kind].admitted;
    out.lines[kind].refused -= earlier.lines[kind].refused;
    for (std::size_t outcome = 0; outcome < kOutcomes; ++outcome)
      out.lines[kind].ended[outcome] -= earlier.lines[kind].ended[outcome];
  }
  return out;
}

}  // namespace outlast::lifecycle
