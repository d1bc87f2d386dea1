#include "cli/cli.h"

int main(int argc, char** argv) {
  return outlast::cli::run(argc, argv);
}
