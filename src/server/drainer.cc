#include "server/drainer.h"

#include <utility>

namespace outlast::server {
using namespace std::chrono_literals;
using lifecycle::DrainPhase;

namespace {
constexpr Duration kLookEvery = 20ms;
constexpr Duration kLookPauseMost = 200ms;
constexpr Duration kRecordRetry = 500ms;
}  // namespace

Drainer::Drainer(Loop& loop, Ports ports) : loop_(loop), ports_(std::move(ports)) {}

Drainer::~Drainer() {
  for (const Loop::TimerId timer : {timer_, retry_})
    if (timer != 0) loop_.cancel(timer);
}

Result<void> Drainer::drain(lifecycle::DrainRequest request, std::string by) {
  const bool begins = machine_.begins(request);
  TRY(machine_.drain(request, loop_.now()));
  if (begins) {
    by_ = std::move(by);
    since_micros_ = loop_.wall_micros();
    progress_at_ = loop_.now();
    at_start_ = ports_.load();
    ports_.report(request.handover     ? "leaving for a new worker"
                  : request.exit.any() ? "graceful exit begins"
                  : request.rehearsal  ? "rehearsal of a drain"
                                       : "drain request received with doDrain = true",
                  view());
  }
  look();
  return {};
}

Result<void> Drainer::undrain() {
  if (final_) return Error(Errc::kInvalidState, "the process is shutting down: start the node again when it has ended");
  const bool was = machine_.draining();
  TRY(machine_.undrain(loop_.now()));
  waiting_.clear();
  if (!was) return {};
  ports_.report("drain request received with doDrain = false", view());
  since_micros_ = 0;
  ports_.carry_out(machine_.orders());
  keep_record();
  return {};
}

void Drainer::when_drained(Task done, bool final) {
  final_ = final_ || final;
  if (machine_.orders().may_stop) return done();
  waiting_.push_back(std::move(done));
}

/// Steps until nothing changes, carrying out each step's orders before the next is taken.
void Drainer::look() {
  const Instant now = loop_.now();
  const lifecycle::DrainSettings settings = ports_.settings();
  ports_.carry_out(machine_.orders());
  for (DrainPhase before = machine_.phase();;) {
    const DrainPhase after = machine_.advance(now, settings, ports_.load());
    if (after == before) break;
    ports_.carry_out(machine_.orders());
    ports_.report("drain details", view());
    before = after;
    if (after != DrainPhase::kDrained) continue;
    drained_at_ = now;
    ports_.report("drain complete", view());
    ports_.drained(view());
  }
  if (!machine_.orders().may_stop && now - progress_at_ >= settings.lease_transfer_wait) {
    progress_at_ = now;
    ports_.report("drain remaining", view());
  }
  keep_record();
  if (machine_.orders().may_stop)
    for (Task& done : std::exchange(waiting_, {})) done();
  // Counting may be long on a node with very many ranges: it takes a tenth of the loop at most. Not more than that,
  // because on a busy machine a look is long that only had to wait for a processor.
  const Instant ended = loop_.now();
  look_from_ = ended + std::min(9 * (ended - now), kLookPauseMost);
  if (machine_.draining()) schedule(std::max(look_from_, ended + kLookEvery));
}

void Drainer::nudge() {
  if (machine_.draining() && !machine_.orders().may_stop) schedule(std::max(look_from_, loop_.now()));
}

void Drainer::schedule(Instant at) {
  if (timer_ != 0) loop_.cancel(timer_);
  timer_ = loop_.after(at - loop_.now(), [this] {
    timer_ = 0;
    if (machine_.draining()) look();
  });
}

DrainWish Drainer::wish() const {
  if (machine_.frontend_only()) return {};  // ranges and their work stay
  return {.draining = machine_.draining(),
          .force = machine_.request().force,
          .step_out = machine_.orders().step_out,
          .drained = machine_.orders().may_stop && !handing_over(),
          .leave = machine_.request().leave};
}

/// The record follows the wish, one change at a time.
void Drainer::keep_record() {
  if (recording_ || retry_ != 0 || recorded_ == wish()) return;
  recording_ = true;
  recorded_to_leave_ = recorded_to_leave_ || wish().leave;
  ports_.record(wish(), by_, [this, wanted = wish(), alive = std::weak_ptr(alive_)](const Result<void>& written) {
    if (alive.expired()) return;
    recording_ = false;
    if (written.ok()) note_recorded(wanted);
    retry_ = loop_.after(written.ok() ? Duration::zero() : kRecordRetry, [this] {
      retry_ = 0;
      keep_record();
    });
  });
}

void Drainer::note_recorded(const DrainWish& wish) {
  recorded_ = wish;
  recorded_to_leave_ = wish.leave;
  if (!machine_.draining()) ports_.carry_out(machine_.orders());
}

DrainView Drainer::view() const {
  const Instant now = machine_.orders().may_stop ? drained_at_ : loop_.now();
  DrainView out;
  out.settings = ports_.settings();
  out.phase = machine_.phase();
  out.end = machine_.end();
  out.request = machine_.request();
  out.load = ports_.load();
  out.at_start = at_start_;
  out.blocker = machine_.blocker(now, out.settings, out.load);
  out.by = by_;
  out.since_micros = since_micros_;
  const auto& history = machine_.history();
  if (history.empty() || since_micros_ == 0) return out;
  for (std::size_t i = 0; i < history.size(); ++i) {
    const Instant until = i + 1 < history.size() ? history[i + 1].at : now;
    out.phases.push_back({history[i].phase, until - history[i].at});
  }
  out.elapsed = now - history.front().at;
  const std::uint64_t begun = at_start_.remaining(), left = out.load.remaining();
  const double seconds = std::chrono::duration<double>(out.elapsed).count();
  if (left < begun && seconds > 0) out.per_second = static_cast<double>(begun - left) / seconds;
  if (left == 0)
    out.eta = Duration::zero();
  else if (out.per_second > 0)
    out.eta =
        std::chrono::duration_cast<Duration>(std::chrono::duration<double>(static_cast<double>(left) / out.per_second));
  return out;
}

}  // namespace outlast::server
