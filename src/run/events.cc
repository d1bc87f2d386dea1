#include "run/events.h"

#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <ctime>

#include "base/parse.h"

namespace outlast::run {
namespace {
namespace json = boost::json;

std::string now_utc() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  tm utc{};
  gmtime_r(&now.tv_sec, &utc);
  char text[64];
  const std::size_t n = std::strftime(text, sizeof text, "%FT%T", &utc);
  std::snprintf(text + n, sizeof text - n, ".%03ldZ", now.tv_nsec / 1'000'000);
  return text;
}

double millis(Duration d) {
  return static_cast<double>(std::chrono::duration_cast<std::chrono::microseconds>(d).count()) / 1000;
}

std::string shown(Duration d) {
  return format_duration(std::chrono::duration_cast<std::chrono::milliseconds>(d));
}

void print(std::FILE* to, const std::string& line) {
  std::fprintf(to, "%s\n", line.c_str());
  std::fflush(to);
}

constexpr const char* kWords[][2] = {{"started", "started"},
                                     {"ready", "is ready"},
                                     {"ended", ""},
                                     {"killed", "is killed:"},
                                     {"status", "says:"},
                                     {"says_reloading", "says that it reloads"},
                                     {"says_stopping", "says that it stops"},
                                     {"start_failed", ""},
                                     {"reload_started", ""},
                                     {"crash_loop", "crash loop:"},
                                     {"listening", "listens on"},
                                     {"stopping", "stopping"},
                                     {"stopped", "stopped,"}};
}  // namespace

std::string sentence(const std::string& event, int pid, const std::string& detail) {
  std::string out =
      pid == 0 || event == "stopping" || event == "reload_started" ? "" : "process " + std::to_string(pid);
  const auto add = [&out](const std::string& words) {
    if (!words.empty()) out += (out.empty() ? "" : " ") + words;
  };
  for (const auto& [name, words] : kWords)
    if (event == name) add(words);
  add(detail);
  return out;
}

std::string sentence(const Receipt& r) {
  std::string out = "reload " + std::to_string(r.id) + " " + r.outcome;
  if (r.outcome == "rolled_back")
    out = "reload " + std::to_string(r.id) + " rolled back, process " + std::to_string(r.from_pid) + " goes on";
  if (r.outcome == "completed") {
    out += ": process " + std::to_string(r.from_pid) + " -> " + std::to_string(r.to_pid) + ", ready in " +
           shown(r.ready) + ", the old one " + (r.killed ? "killed after " : "gone after ") + shown(r.left);
    if (r.queued >= 0) out += ", " + std::to_string(r.queued) + " connections waited";
  }
  return r.why.empty() ? out : out + (r.outcome == "completed" ? "; " : ": ") + r.why;
}

std::string to_json(const Receipt& r, const std::deque<std::string>& stderr_tail, const std::string& at) {
  json::object o{{"event", "reload"},
                 {"at", at},
                 {"id", r.id},
                 {"outcome", r.outcome},
                 {"why", r.why},
                 {"by", r.by},
                 {"triggers", r.triggers},
                 {"from_pid", r.from_pid},
                 {"to_pid", r.to_pid},
                 {"killed", r.killed}};
  o["queued"] = r.queued < 0 ? json::value(nullptr) : json::value(r.queued);
  o["duration_ms"] = {
      {"check", millis(r.check)}, {"ready", millis(r.ready)}, {"left", millis(r.left)}, {"total", millis(r.total)}};
  o["stderr"] = json::array(stderr_tail.begin(), stderr_tail.end());
  return json::serialize(o);
}

void Reporter::event(const std::string& name, int pid, const std::string& detail) const {
  if (!json_) return print(stderr, "outlast: " + sentence(name, pid, detail));
  json::object o{{"event", name}, {"at", now_utc()}};
  if (pid != 0) o["pid"] = pid;
  if (!detail.empty()) o["detail"] = detail;
  print(stdout, json::serialize(o));
}

void Reporter::receipt(const Receipt& receipt, const std::deque<std::string>& stderr_tail) const {
  if (json_) return print(stdout, to_json(receipt, stderr_tail, now_utc()));
  print(stderr, "outlast: " + sentence(receipt));
  if (receipt.outcome != "completed")
    for (const std::string& line : stderr_tail) print(stderr, "outlast:   " + line);
}

}  // namespace outlast::run
