#pragma once
#include <cstdint>
#include <string_view>

namespace outlast::lifecycle {

/// What a process is doing, as far as a signal's meaning depends on it.
enum class ProcessState : std::uint8_t {
  kStarting,    ///< Not ready yet: nobody was promised anything.
  kSourceOnly,  ///< Inputs take in and buffer, and nothing is stored until a signal says so.
  kServing,
  kRestarting,  ///< A handover is under way.
  kDraining,    ///< A graceful shutdown is under way: the drain that ends with the process.
  kStopping,    ///< Past the drain; nothing stops the end any more.
};

enum class Signal : std::uint8_t { kTerm, kInt, kUsr1, kUsr2, kWinch, kHup };

enum class SignalAction : std::uint8_t {
  kIgnore,
  kGracefulShutdown,  ///< The full drain of all roles, then the end.
  kHardExit,          ///< At once; the next start recovers.
  kFrontendExit,      ///< The frontend role leaves; the process ends only if it has no other role.
  kRestart,           ///< Zero-downtime restart.
  kRestartAgain,      ///< One more restart after the present one; further triggers change nothing.
  kEndSourceOnly,
  kReload,
};
std::string_view to_string(SignalAction action);

/// What `signal` means now (docs/cli.md has the table). Pure, and the same for a signal that comes twice.
/// Source: seed 002 (SIGTERM and SIGINT drain, further SIGTERM ignored, SIGINT in a drain is a hard shutdown); seed 001
/// (SIGUSR1: a frontend's graceful exit); seed 004 (SIGUSR2, SIGWINCH).
SignalAction decide(ProcessState state, Signal signal);

}  // namespace outlast::lifecycle
