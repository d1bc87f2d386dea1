#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>

#include "handover/adoption.h"
#include "handover/supervisor.h"

namespace outlast::handover {
using namespace std::chrono_literals;

namespace {
constexpr Duration kAskAgain = 200ms;
/// Somebody who holds the store and answers nobody for so long is not about to.
constexpr Duration kSilentFor = 60s;

}  // namespace

std::vector<std::string> with_program(const std::string& program, const std::vector<std::string>& words) {
  std::vector<std::string> argv = {program};
  argv.insert(argv.end(), words.begin(), words.end());
  return argv;
}

std::vector<std::string> Supervisor::worker_words(const std::string& program, std::vector<std::string> words) const {
  if (source_only_) words.emplace_back("--source-only");
  return with_program(program, words);
}

/// Else the restart says who is started when.
bool Supervisor::by_policy() const {
  switch (machine_.state()) {
    case HandoverState::kIdle:
    case HandoverState::kTrial:
    case HandoverState::kOwned:
    case HandoverState::kDone:
      return true;
    case HandoverState::kStandby:
    case HandoverState::kSessions:
    case HandoverState::kStorageReleased:
      return false;
  }
  return false;
}

void Supervisor::start_or_adopt() {
  if (look_for_worker_ && !options_.store.empty()) {
    Found found = look_for_worker(options_.store);
    if (found.what == Found::What::kSilent) {
      if (silent_since_ == Instant{}) silent_since_ = now();
      start_at_ = now() + kAskAgain;
      const std::string what =
          "the store " + options_.store + " is held by a process that does not answer (" + found.holder + ")";
      if (now() - silent_since_ <= kSilentFor) return tell_manager("STATUS=waits: " + what);
      std::fprintf(stderr, "outlast: %s; end that process, then start again\n", what.c_str());
      exit_code_ = 1;
      return;
    }
    silent_since_ = {};
    if (found.what == Found::What::kWorker) {
      spdlog::info("supervisor: adopts worker {} and its sockets", found.worker->pid);
      std::swap(listeners_, found.listeners);
      close_all(found.listeners);
      worker_ = std::move(found.worker);
      worker_->started = now();
      source_only_ = found.source_only;
      return on_serving(*worker_);
    }
  }
  look_for_worker_ = false;
  if (auto started = start_present(); !started.ok()) {
    std::fprintf(stderr, "outlast: %s\n", started.error().message.c_str());
    exit_code_ = started.error().code == Errc::kInvalidArgument ? 2 : 1;
  }
}

Result<void> Supervisor::start_present() {
  if (listeners_.http < 0 && options_.bind) {
    ASSIGN_OR_RETURN(listeners_, options_.bind({}));
  }
  if (!std::exchange(kept_, true)) keep_listeners(listeners_);
  if (lines_.worker.empty()) {
    ASSIGN_OR_RETURN(lines_, options_.command_lines());
  }
  ASSIGN_OR_RETURN(worker_, start_worker(present_, worker_words(options_.binary, lines_.present()), listeners_, -1));
  worker_->started = now();
  spdlog::info("supervisor: worker {} started", worker_->pid);
  return {};
}

/// The process is gone for sure: its incarnation ends now.
void Supervisor::bury(std::unique_ptr<Child>& child) {
  if (child->incarnation) options_.fence(child->node, child->incarnation);
  child.reset();
}

void Supervisor::kill_child(std::unique_ptr<Child>& child) {
  if (!child) return;
  kill_and_wait(*child);
  spdlog::warn("supervisor: worker {} was killed", child->pid);
  bury(child);
}

void Supervisor::look_at_ends() {
  while (look_at_one_end()) {
  }
  std::vector<int> ours;
  for (const Child* child : children()) ours.push_back(child->pid);
  for (const Trial* trial : {trial_.get(), plan_ ? plan_->trial.get() : nullptr})
    if (trial != nullptr) ours.push_back(trial->pid());
  reap_orphans(ours);
}

bool Supervisor::look_at_one_end() {
  for (Child* child : children()) {
    const std::optional<ChildEnd> end = ended(*child);
    if (!end) continue;
    const int pid = child->pid;
    spdlog::info("supervisor: worker {} {}", pid, to_string(*end));
    // What it said before it died may have made it another's place, and what another said before it heard of that may
    // be the release: a death means something else after it.
    for (Child* one : children()) read_control(*one);
    run_actions();
    for (std::unique_ptr<Child>* place : {&worker_, &next_, &old_})
      if (*place && (*place)->pid == pid) on_end(*place, *end);
    run_actions();
    return true;
  }
  return false;
}

void Supervisor::on_end(std::unique_ptr<Child>& place, const ChildEnd& end) {
  const bool present = &place == &worker_;
  if (present && by_policy()) return on_worker_end(end);
  const Who who = &place == &next_ ? Who::kNew : Who::kOld;
  const std::string name = who == Who::kNew ? "the new worker " : "the old worker ";
  const std::string why = place->fatal.empty() ? name + to_string(end) : place->fatal;
  const bool fatal = end.exited_with(kExitFatal);
  if (fatal) fatal_ = place->fatal;
  bury(place);
  if (present && end.exited_with(kExitStopped) && machine_.state() != HandoverState::kStorageReleased) {
    stopping_ = true;  // an admin call reached it in the middle of a restart
    return machine_.stop(now());
  }
  machine_.on_death(now(), who, why, fatal);
}

/// The present worker ended outside of a restart's hands.
void Supervisor::on_worker_end(const ChildEnd& end) {
  const bool stopped = end.exited_with(kExitStopped);
  const std::string fatal = worker_->fatal;
  const Instant started = worker_->started;
  look_for_worker_ = !worker_->ours;
  bury(worker_);
  if (stopping_ || stopped) tell_manager("STOPPING=1");
  if (stopping_) {
    // One that had been told to release the store, when the stop came, has ended as orderly as any.
    exit_code_ = stopped || !end.known || end.exited_with(kExitHandedOver) ? 0 : 1;
  } else if (stopped) {
    exit_code_ = 0;  // stopped by an admin call
  } else if (end.exited_with(kExitFatal)) {
    std::fprintf(stderr, "outlast: %s\n", fatal.empty() ? "the worker cannot run; see the log" : fatal.c_str());
    exit_code_ = kExitFatal;
  } else {
    start_at_ = now() + policy_.on_exit(started, now());
    if (!policy_.crash_loop()) return;
    spdlog::error("supervisor: the worker ends again and again; see its log");
    tell_manager("STATUS=the worker ends again and again; see its log");
    tell_everybody(machine_.state());
  }
}

void Supervisor::pass_stop() {
  if (!worker_) {
    tell_manager("STOPPING=1");
    exit_code_ = 0;
    return;
  }
  const ControlMessage stop{.kind = ControlMessage::Kind::kStop, .node = {}, .incarnation = {}, .text = {}};
  if (worker_->control_fd < 0 || !send_control(worker_->control_fd, stop).ok()) send_signal(*worker_, SIGTERM);
}

}  // namespace outlast::handover
