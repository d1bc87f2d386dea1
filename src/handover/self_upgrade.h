#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "handover/child.h"

namespace outlast::handover {

/// What a supervisor hands to the program that takes its place in the same process.
struct SupervisorState {
  int lock_fd{-1};    ///< STORE/SUPERVISOR, locked.
  int socket_fd{-1};  ///< STORE/supervisor.sock, listening.
  Listeners listeners;
  std::unique_ptr<Child> worker;          ///< None while it is being started again.
  std::vector<std::string> worker_words;  ///< Its command line after the binary.
  bool source_only{false};
};

/// Becomes `binary` with `argv`, same pid: the state goes along in a sealed memfd, named with all passed descriptors in
/// OUTLAST_SUPERVISOR_STATE. Returns only when that failed, with everything as before.
Error become(const std::string& binary, const std::vector<std::string>& argv, const SupervisorState& state);
/// What the program before us passed, checked; nullopt when there was none, or none that this version understands: then
/// its descriptors are closed and the worker is to be found by its socket (adoption.h). Call it before any thread
/// exists.
std::optional<SupervisorState> take_passed_state();

/// Both name the same file now.
bool same_file(const std::string& a, const std::string& b);
/// The path that a program was started from, links unresolved, so that it names a newer version later.
std::string path_of_program(const std::string& argv0);

}  // namespace outlast::handover
