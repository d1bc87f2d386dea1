#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "base/loop.h"
#include "base/result.h"

namespace outlast::cli {

/// What the process returns; docs/cli.md lists them for operators.
enum ExitCode : int {
  kDone = 0,
  kFailed = 1,           ///< It did not work; one sentence on stderr says what to do next.
  kUsage = 2,            ///< The command line makes no sense; nothing was done.
  kVerdictNegative = 3,  ///< It worked, and the answer is no: a demo or a verification did not pass.
  kInterrupted = 130,    ///< Ctrl-C.
};

/// Where an option's value goes; what stands there before parsing is the default and is shown in the help.
/// Durations and sizes are read as people write them ("8s", "64MiB"); lists are comma separated and may be repeated.
struct Bytes {
  std::uint64_t value{0};
};
using Target = std::variant<std::string*, bool*, std::int64_t*, double*, Duration*, Bytes*, std::vector<std::string>*>;

/// One option ("--store"), or an argument by position when the name has no dashes ("ID").
struct Option {
  std::string name;
  std::string value_name;  ///< Shown in the help: "DIR", "HOST:PORT". Empty for a bool.
  Target target;
  std::string help;
  bool required{false};
  std::vector<std::string> choices;             ///< When given, the only values allowed (strings only).
  std::int64_t min{INT64_MIN}, max{INT64_MAX};  ///< Limits of an integer.
  bool in_file{true};                           ///< May stand in the command's configuration file, if it has one.
  bool whole{false};                            ///< A list's values may contain commas; it is only repeated.
};

/// One command of the tree. A file of src/cli describes its group in a function `void add_<group>(Commands&)`; the
/// variables that targets point to live in a shared_ptr that `run` holds:
///
///     void add_stop(Commands& all) {
///       auto o = std::make_shared<StopOptions>();
///       all.push_back({.path = "stop", .summary = "Stop a node gracefully",
///                      .options = {{"--store", "DIR", &o->store, "the node's store"}}, .run = [o] { return stop(*o);
///                      }});
///     }
///
/// and groups.cc calls it. Only cli.cc knows the parsing library.
struct Command {
  std::string path;     ///< "start", "node status": words of the command line.
  std::string summary;  ///< One line, no full stop.
  std::string details;  ///< Shown below the options of --help: a few sentences and examples.
  std::vector<Option> options;
  std::function<int()> run;  ///< Returns an ExitCode; called at most once, after all options were read.
  /// The target of an option that names a TOML file (cli/config_file.h): what the command line does not say is read
  /// from there, required options too.
  const std::string* config{nullptr};
  std::vector<std::string>* given{nullptr};  ///< Gets the words behind the command's path, as they were given.
};
using Commands = std::vector<Command>;

/// Every command of the program, in the order of the help. The only list: src/cli/groups.cc.
Commands all_commands();

/// Parses and runs. Errors of the command line go to stderr with kUsage, help to stdout with kDone.
int run_command_line(int argc, const char* const* argv, const Commands& commands);
/// Parses the words of this one command and runs nothing. kInvalidArgument says what makes no sense.
Result<void> read_command_line(int argc, const char* const* argv, const Command& command);

}  // namespace outlast::cli
