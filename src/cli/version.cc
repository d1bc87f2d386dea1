#include <cstdio>
#include <memory>

#include "cli/groups.h"

namespace outlast::cli {

void add_version(Commands& all) {
  auto format = std::make_shared<std::string>("text");
  all.push_back({.path = "version",
                 .summary = "Print the version of this program",
                 .details = "",
                 .options = {{.name = "--format",
                              .value_name = "FORMAT",
                              .target = format.get(),
                              .help = "how to print it: text or json",
                              .choices = {"text", "json"}}},
                 .run = [format] {
                   if (*format == "json")
                     std::printf("{\"version\":\"%s\",\"compiler\":\"%s\"}\n", OUTLAST_VERSION, __VERSION__);
                   else
                     std::printf("outlast %s (%s)\n", OUTLAST_VERSION, __VERSION__);
                   return kDone;
                 }});
}

}  // namespace outlast::cli
