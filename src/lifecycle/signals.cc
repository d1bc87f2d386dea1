#include "lifecycle/signals.h"

namespace outlast::lifecycle {
namespace {
SignalAction on_term(ProcessState state) {
  switch (state) {
    case ProcessState::kDraining:
    case ProcessState::kStopping:
      return SignalAction::kIgnore;  // an orchestrator that repeats itself does not mean "hard"
    case ProcessState::kStarting:
    case ProcessState::kSourceOnly:
    case ProcessState::kServing:
    case ProcessState::kRestarting:
      return SignalAction::kGracefulShutdown;
  }
  return SignalAction::kIgnore;
}

SignalAction on_int(ProcessState state) {
  const bool ending = state == ProcessState::kDraining || state == ProcessState::kStopping;
  return ending ? SignalAction::kHardExit : SignalAction::kGracefulShutdown;
}

SignalAction on_restart(ProcessState state) {
  switch (state) {
    case ProcessState::kServing:
    case ProcessState::kSourceOnly:
      return SignalAction::kRestart;
    case ProcessState::kRestarting:
      return SignalAction::kRestartAgain;
    case ProcessState::kStarting:
    case ProcessState::kDraining:
    case ProcessState::kStopping:
      return SignalAction::kIgnore;  // it starts with the present binary anyway, or it leaves
  }
  return SignalAction::kIgnore;
}

/// In any state, since it may come before the worker that it is for, and again for one that it did not reach.
SignalAction on_winch(ProcessState state) {
  const bool ending = state == ProcessState::kDraining || state == ProcessState::kStopping;
  return ending ? SignalAction::kIgnore : SignalAction::kEndSourceOnly;
}

SignalAction on_hup(ProcessState state) {
  const bool serves = state == ProcessState::kServing || state == ProcessState::kSourceOnly;
  return serves ? SignalAction::kReload : SignalAction::kIgnore;
}

}  // namespace

SignalAction decide(ProcessState state, Signal signal) {
  switch (signal) {
    case Signal::kTerm:
      return on_term(state);
    case Signal::kInt:
      return on_int(state);
    case Signal::kUsr1:
      return state == ProcessState::kServing ? SignalAction::kFrontendExit : SignalAction::kIgnore;
    case Signal::kUsr2:
      return on_restart(state);
    case Signal::kWinch:
      return on_winch(state);
    case Signal::kHup:
      return on_hup(state);
  }
  return SignalAction::kIgnore;
}

std::string_view to_string(SignalAction action) {
  switch (action) {
    case SignalAction::kIgnore:
      return "ignore";
    case SignalAction::kGracefulShutdown:
      return "graceful shutdown";
    case SignalAction::kHardExit:
      return "hard exit";
    case SignalAction::kFrontendExit:
      return "frontend exit";
    case SignalAction::kRestart:
      return "restart";
    case SignalAction::kRestartAgain:
      return "restart again";
    case SignalAction::kEndSourceOnly:
      return "end of source-only";
    case SignalAction::kReload:
      return "reload";
  }
  return "unknown";
}

}  // namespace outlast::lifecycle
