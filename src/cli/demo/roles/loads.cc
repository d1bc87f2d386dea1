#include "cli/demo/roles/loads.h"

#include <spdlog/fmt/fmt.h>

#include <boost/json.hpp>
#include <map>
#include <thread>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
using Steady = std::chrono::steady_clock;
constexpr auto kAnswerTimeout = 15s;
constexpr auto kPatience = 60s;  ///< Of a sender that repeats, as connectors have it by default or longer.
constexpr auto kRetryEvery = 100ms;
constexpr std::size_t kDetailsMax = 10;

std::string word(const boost::json::object& object, const char* name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

std::string body_of(const std::string& label, int rows) {
  std::string text;
  for (int line = 0; line < rows; ++line) text += fmt::format("{}\t{}\tline {} of {}\n", label, line, line, label);
  return text;
}

/// One try; follows one redirect, as curl --location-trusted does.
Result<HttpAnswer> send_once(const LoadSender& sender, const std::string& address, const std::string& label) {
  const HttpRequest request{
      .method = "PUT",
      .path = sender.path,
      .headers = {"label: " + label, "columns: label,line,payload", "format: csv", "column_separator: \\t"},
      .body = body_of(label, sender.rows)};
  auto answer = http_send(address, request, kAnswerTimeout);
  if (!answer.ok() || answer->status != 307) return answer;
  const auto target = split_http_url(answer->location);
  if (!target) return Error(Errc::kProtocolViolation, "it redirects to " + answer->location);
  HttpRequest moved = request;
  moved.path = target->path;
  return http_send(target->address, moved, kAnswerTimeout);
}

void detail(LabelCounts& counts, std::string text) {
  if (counts.details.size() < kDetailsMax) counts.details.push_back(std::move(text));
}

/// One label against what is there of it.
void count_label(const LoadRun& run, const LabelRows& there, LabelCounts& counts) {
  const auto rows = static_cast<std::uint64_t>(run.rows);
  ++(run.done ? counts.sent : counts.failed);
  counts.retried += static_cast<std::uint64_t>(run.repeats);
  if (run.done) counts.rows += rows;
  if (there.rows > there.different) {
    ++counts.doubled;
    counts.rows_duplicated += there.rows - there.different;
    detail(counts, fmt::format("label {} has {} rows more than once", run.label, there.rows - there.different));
  }
  if (there.different >= rows) return;
  if (!run.done && there.different == 0) return;
  ++(run.done ? counts.lost : counts.halves);
  if (run.done) counts.rows_missing += rows - there.different;
  detail(counts, fmt::format("label {} has {} of its {} rows; its sender was told {}", run.label, there.different, rows,
                             run.done ? "that it is loaded" : run.last));
}

}  // namespace

bool load_is_done(const HttpAnswer& answer) {
  boost::system::error_code wrong;
  const auto parsed = boost::json::parse(answer.body, wrong);
  if (wrong || !parsed.is_object()) return false;
  const std::string status = word(parsed.get_object(), "Status");
  return status == "Success" || status == "Publish Timeout" ||
         (status == "Label Already Exists" && word(parsed.get_object(), "ExistingJobStatus") == "FINISHED");
}

std::string load_state(const HttpAnswer& answer) {
  boost::system::error_code wrong;
  const auto parsed = boost::json::parse(answer.body, wrong);
  if (wrong || !parsed.is_object()) return "";
  const auto* const job = parsed.get_object().if_contains("jobInfo");
  const bool nested = job != nullptr && job->is_object();
  return word(nested ? job->get_object() : parsed.get_object(), "state");
}

void LoadRuns::add(LoadRun run) {
  const std::lock_guard lock(mutex_);
  runs_.push_back(std::move(run));
}
std::vector<LoadRun> LoadRuns::all() const {
  const std::lock_guard lock(mutex_);
  return runs_;
}

LabelCounts count_labels(const std::vector<LoadRun>& runs, bool persistent, const std::vector<LabelRows>& there) {
  std::map<std::string, LabelRows> by_label;
  for (const LabelRows& rows : there) by_label[rows.label] = rows;
  LabelCounts counts;
  for (const LoadRun& run : runs) {
    const auto found = by_label.extract(run.label);
    if (run.persistent == persistent) count_label(run, found ? found.mapped() : LabelRows{}, counts);
  }
  for (const auto& [label, rows] : by_label) {
    counts.rows_unasked += rows.rows;
    detail(counts, fmt::format("{} rows have the label {}, which nobody sent", rows.rows, label));
  }
  return counts;
}

void run_sender(const LoadSender& sender, LoadRuns& runs, const std::atomic<bool>& stopping) {
  std::size_t next = 0;
  const auto choose = [&] {
    for (std::size_t i = 1; i < sender.addresses.size() && !sender.in_service(next); ++i)
      next = (next + 1) % sender.addresses.size();
    return sender.addresses[next];
  };
  for (int count = 1; !stopping; ++count) {
    LoadRun run{
        .label = fmt::format("{}_{}", sender.prefix, count), .rows = sender.rows, .persistent = sender.persistent};
    const auto until = Steady::now() + kPatience;
    for (;;) {
      const auto answer = send_once(sender, choose(), run.label);
      run.done = answer.ok() && load_is_done(*answer);
      if (run.done) break;
      run.last = answer.ok() ? fmt::format("{} {}", answer->status, answer->body) : answer.error().message;
      next = (next + 1) % sender.addresses.size();
      if (!sender.persistent || Steady::now() > until || sender.give_up()) break;
      ++run.repeats;
      std::this_thread::sleep_for(kRetryEvery);
    }
    runs.add(std::move(run));
    std::this_thread::sleep_for(sender.pause);
  }
}

}  // namespace outlast::cli
