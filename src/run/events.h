#pragma once
#include <deque>
#include <string>

#include "run/machine.h"

namespace outlast::run {

/// Says what happens: sentences on stderr, or with `json` one object a line on stdout.
class Reporter {
 public:
  explicit Reporter(bool json) : json_(json) {}
  /// `pid` 0: not about a process.
  void event(const std::string& name, int pid, const std::string& detail) const;
  void receipt(const Receipt& receipt, const std::deque<std::string>& stderr_tail) const;

 private:
  bool json_;
};

/// "process 123 is ready".
std::string sentence(const std::string& event, int pid, const std::string& detail);
std::string sentence(const Receipt& receipt);
/// One JSON object, without the line's end.
std::string to_json(const Receipt& receipt, const std::deque<std::string>& stderr_tail, const std::string& at);

}  // namespace outlast::run
