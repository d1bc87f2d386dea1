#include "cli/record_report.h"

#include <spdlog/fmt/fmt.h>

#include <boost/json/array.hpp>
#include <cmath>

namespace outlast::cli {
namespace {
namespace json = boost::json;
constexpr std::uint64_t kReadBatch = 1024;  ///< Datagrams that one read of an input takes at most.

void put(json::object& out, const SenderCounts& counts, const StoredRecords& stored) {
  out["sent"] = counts.sent;
  out["lost"] = stored.lost;
  out["duplicated"] = stored.duplicated;
  out["order_breaks"] = stored.order_breaks;
  out["unreadable"] = stored.unreadable;
  out["send_errors"] = counts.send_errors;
  out["connections_reset"] = counts.resets;
}

json::object kind_json(RecordKind kind, const RecordKindReport& report) {
  json::object one;
  put(one, report.counts, report.stored);
  if (kind != RecordKind::kHttp) return one;
  one["acknowledged"] = report.counts.sent;
  one["sent_again"] = report.counts.retried;
  return one;
}

json::value files_json(const std::optional<StoredRecords>& files) {
  if (!files) return {};
  return json::object{{"lost", files->lost},
                      {"duplicated", files->duplicated},
                      {"order_breaks", files->order_breaks},
                      {"unreadable", files->unreadable}};
}

/// "in the table" or "in the files": what must be nowhere.
void stored_failures(const StoredRecords& stored, const char* where, std::vector<std::string>& why) {
  const auto none = [&](std::uint64_t count, const char* what) {
    if (count != 0) why.push_back(fmt::format("{} records {} {}", count, what, where));
  };
  none(stored.lost, "are not");
  none(stored.duplicated, "are more than once");
  none(stored.order_breaks, "overtook another one");
  none(stored.unreadable, "cannot be read");
}

void measured(const RecordsReport& report, std::vector<std::string>& why) {
  const std::uint64_t sent = report.counts().sent;
  if (sent == 0 || sent < report.wanted)
    why.push_back(fmt::format("{} records were sent, {} are wanted", sent, report.wanted));
  if (!report.kernel_drops)
    why.emplace_back("it is not known how many datagrams the kernel dropped");
  else if (*report.kernel_drops != 0)
    why.push_back(fmt::format("the kernel dropped {} datagrams", *report.kernel_drops));
}

/// Of one place: what a kill may cost there, and no more.
void killed_failures(const StoredRecords& stored, const char* where, std::uint64_t sent_again,
                     std::vector<std::string>& why) {
  if (stored.order_breaks != 0)
    why.push_back(fmt::format("{} records overtook another one {} after the kill", stored.order_breaks, where));
  if (stored.duplicated > sent_again)
    why.push_back(fmt::format("{} records are more than once {} after the kill, and HTTP clients sent only {} again",
                              stored.duplicated, where, sent_again));
}
}  // namespace

SenderCounts RecordsReport::counts() const {
  SenderCounts all;
  for (const auto& [kind, one] : kinds) all.add(one.counts);
  return all;
}

StoredRecords RecordsReport::stored() const {
  StoredRecords all{.unreadable = unreadable};
  for (const auto& [kind, one] : kinds) all.add(one.stored);
  return all;
}

void record_failures(const RecordsReport& report, std::vector<std::string>& why) {
  measured(report, why);
  stored_failures(report.stored(), "in the table", why);
  if (report.files) stored_failures(*report.files, "in the files", why);
  const SenderCounts counts = report.counts();
  if (!report.longest_gap_ms) why.emplace_back("the longest time without a read is not known");
  if (counts.send_errors != 0) why.push_back(fmt::format("{} sends failed", counts.send_errors));
  if (counts.resets != 0) why.push_back(fmt::format("{} connections of senders were reset", counts.resets));
}

void record_failures_after_kill(const RecordsReport& report, std::vector<std::string>& why) {
  measured(report, why);
  std::uint64_t datagrams = 0, sent_again = 0;
  for (const auto& [kind, one] : report.kinds) {
    if (is_datagram(kind)) datagrams += one.stored.lost;
    sent_again += one.counts.retried;
    if (kind == RecordKind::kHttp && one.stored.lost != 0)
      why.push_back(fmt::format("{} records that HTTP had acknowledged are lost by the kill", one.stored.lost));
    if (kind != RecordKind::kHttp && one.stored.duplicated != 0)
      why.push_back(
          fmt::format("{} records of {} are there twice after the kill", one.stored.duplicated, to_string(kind)));
  }
  if (datagrams > kReadBatch)
    why.push_back(fmt::format("{} datagrams are lost by the kill: more than one read takes", datagrams));
  killed_failures(report.stored(), "in the table", sent_again, why);
  if (report.files) killed_failures(*report.files, "in the files", sent_again, why);
}

json::object to_json(const RecordsReport& report) {
  json::object all;
  put(all, report.counts(), report.stored());
  all["kernel_drops"] = report.kernel_drops ? json::value(*report.kernel_drops) : json::value();
  if (report.longest_gap_ms) all["longest_gap_ms"] = std::round(*report.longest_gap_ms * 1000) / 1000;
  json::object kinds;
  for (const auto& [kind, one] : report.kinds) kinds[to_string(kind)] = kind_json(kind, one);
  all["by_kind"] = std::move(kinds);
  if (report.files) all["files"] = files_json(report.files);
  return all;
}

std::string records_summary(const char* title, const RecordsReport& report) {
  const SenderCounts c = report.counts();
  const StoredRecords s = report.stored();
  std::string text = fmt::format(
      "{:<11} {} sent, {} lost, {} duplicated, {} out of order; {} connections reset, {} dropped by the kernel{}\n",
      title, c.sent, s.lost, s.duplicated, s.order_breaks, c.resets,
      report.kernel_drops ? std::to_string(*report.kernel_drops) : "?",
      report.longest_gap_ms ? fmt::format(", longest {:.1f} ms without a read", *report.longest_gap_ms) : "");
  for (const auto& [kind, one] : report.kinds)
    text += fmt::format("            {:<10} {} sent, {} lost, {} duplicated\n", to_string(kind), one.counts.sent,
                        one.stored.lost, one.stored.duplicated);
  if (report.files)
    text += fmt::format("            in files   {} lost, {} duplicated, {} out of order\n", report.files->lost,
                        report.files->duplicated, report.files->order_breaks);
  return text;
}

}  // namespace outlast::cli
