#pragma once
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/command.h"

namespace outlast::cli {

/// Rows of text on stdout: for people (table) or for programs (csv, RFC 4180).
class Table {
 public:
  explicit Table(std::vector<std::string> header) : header_(std::move(header)) {}
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  std::size_t rows() const { return rows_.size(); }
  std::string table() const;
  std::string csv() const;
  /// `format`: "table" or "csv".
  void print(const std::string& format) const;

 private:
  std::vector<std::string> header_;
  std::vector<std::vector<std::string>> rows_;
};

std::string yes(bool value);
/// "1,2,3"; "-" for none.
template <class List>
std::string joined(const List& list) {
  std::string out;
  for (const auto& item : list) out += (out.empty() ? "" : ",") + std::to_string(item);
  return out.empty() ? "-" : out;
}
/// The two options that every command about a running cluster has.
Option host_option(std::string& host);
Option format_option(std::string& format);
/// "node drain, ann@host": who asks, for display.
std::string asked_by(const std::string& command);
/// Prints the sentence to stderr, with what to look at when no node answered; returns kFailed.
int fail_with(const Error& error);
/// Asks on the terminal; true for "yes". False when nobody can answer (stdin is no terminal).
bool confirmed(const std::string& question);

}  // namespace outlast::cli
