// Client: what became of a write whose answer was lost (protocol A5.6), asked as gateway::SessionImpl::resolve does.
#include "tests/sim/client.h"

namespace outlast::sim {
using namespace std::chrono_literals;

void Client::resolve() {
  ++attempt_;
  Process* const process = gateway();
  if (process == nullptr || cluster_.world.now() > write_.give_up) return end(false, std::nullopt);
  process->loop.plan(cluster_.world.between(20us, 300us), "gateway", [this, mine = attempt_] {
    if (mine != attempt_) return;
    std::optional<gateway::Route> route;
    if (!find_route(route) || route->epoch < write_.addressed || !connect(*route)) return resolve_again();
    ask_fate();
  });
}

void Client::ask_fate() {
  ++attempt_;
  proto::ExecRequest question;
  question.set_range(write_.range.value);
  question.set_epoch(route_.epoch.value);
  question.set_timeout_ms(3000);
  proto::Resolve& ask = *question.mutable_resolve();
  ask.set_request_id(write_.id);
  ask.set_addressed_epoch(write_.addressed.value);
  ask.set_after_lsn(write_.after.value);
  const auto age = std::chrono::duration_cast<std::chrono::milliseconds>(cluster_.world.now() - write_.sent);
  ask.set_age_ms(static_cast<std::uint64_t>(age.count()));
  const auto broke = [this] {
    stream_.reset();
    resolve_again();
  };
  call(std::move(question), broke, [this](const proto::ExecReply& reply) { told_fate(reply); });
}

void Client::told_fate(const proto::ExecReply& reply) {
  using gateway::Resolution;
  const bool transaction = op_->kind == Operation::Kind::kSwap;
  switch (gateway::judge_answer(reply, cluster_.world.now() - write_.sent)) {
    case Resolution::kAskAgain:
      return resolve_again();
    case Resolution::kUnknown:
      return end(false, std::nullopt);
    case Resolution::kApplied:
      ++histories_.resolved;
      return succeed_with(reply);
    case Resolution::kNotApplied:
      ++histories_.resolved;
      cluster_.oracle.on_not_applied(write_.range, write_.id);
      sent_write_ = false;
      seen_.reset();
      return transaction ? end(true, std::nullopt) : retry();
  }
}

void Client::resolve_again() {
  ++attempt_;
  const Duration wait = cluster_.world.between(pause_ / 2, pause_);
  pause_ = std::min<Duration>(pause_ * 2, 250ms);
  cluster_.world.plan(0, wait, "resolve", [this, mine = attempt_] {
    if (mine == attempt_) resolve();
  });
}

}  // namespace outlast::sim
