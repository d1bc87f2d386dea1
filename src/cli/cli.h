#pragma once

namespace outlast::cli {

/// The whole command line: parses, runs, returns the exit code (docs/cli.md lists them).
int run(int argc, char** argv);

}  // namespace outlast::cli
