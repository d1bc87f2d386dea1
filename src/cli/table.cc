#include "cli/table.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace outlast::cli {

std::string Table::table() const {
  std::vector<std::size_t> widths(header_.size());
  for (std::size_t i = 0; i < header_.size(); ++i) widths[i] = header_[i].size();
  for (const auto& row : rows_)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      out += (i == 0 ? "  " : " | ") + cells[i];
      if (i + 1 < cells.size()) out.append(widths[i] - cells[i].size(), ' ');
    }
    out += '\n';
  };
  line(header_);
  for (std::size_t i = 0; i < widths.size(); ++i) out += (i == 0 ? "--" : "-+-") + std::string(widths[i], '-');
  out += "--\n";
  for (const auto& row : rows_) line(row);
  return out + "(" + std::to_string(rows_.size()) + (rows_.size() == 1 ? " row)\n" : " rows)\n");
}

std::string Table::csv() const {
  std::string out;
  const auto line = [&out](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i > 0) out += ',';
      if (cells[i].find_first_of(",\"\n") == std::string::npos) {
        out += cells[i];
        continue;
      }
      out += '"';
      for (const char c : cells[i]) out += c == '"' ? std::string("\"\"") : std::string(1, c);
      out += '"';
    }
    out += '\n';
  };
  line(header_);
  for (const auto& row : rows_) line(row);
  return out;
}

void Table::print(const std::string& format) const {
  std::fputs((format == "csv" ? csv() : table()).c_str(), stdout);
}

std::string yes(bool value) {
  return value ? "true" : "false";
}

Option host_option(std::string& host) {
  return {.name = "--host", .value_name = "HOST:PORT", .target = &host, .help = "--listen-addr of any node"};
}

Option format_option(std::string& format) {
  return {.name = "--format",
          .value_name = "FORMAT",
          .target = &format,
          .help = "how to print it",
          .choices = {"table", "json", "csv"}};
}

std::string asked_by(const std::string& command) {
  char host[256] = {};
  ::gethostname(host, sizeof host - 1);
  const char* user = std::getenv("USER");
  return command + ", " + (user == nullptr ? "somebody" : user) + "@" + host;
}

int fail_with(const Error& error) {
  const char* advice = error.code == Errc::kUnavailable ? "; is --host the --listen-addr of a running node?" : "";
  std::fprintf(stderr, "outlast: %s%s\n", error.message.c_str(), advice);
  return kFailed;
}

bool confirmed(const std::string& question) {
  if (isatty(STDIN_FILENO) == 0) return false;
  std::printf("%s Type yes to go on: ", question.c_str());
  std::fflush(stdout);
  char answer[16] = {};
  return std::fgets(answer, sizeof answer, stdin) != nullptr && std::string(answer) == "yes\n";
}

}  // namespace outlast::cli
