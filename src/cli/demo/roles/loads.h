#pragma once
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "base/loop.h"
#include "base/result.h"
#include "cli/http_get.h"

namespace outlast::cli {

/// Whether the rows of a label are in, by this try or an earlier one. Any other answer to a stream load means: none of
/// them is, or nobody knows yet; the same label may be sent again. Pure.
bool load_is_done(const HttpAnswer& answer);
/// The state of a label as `_load_info` answers; empty: it says none. Pure.
std::string load_state(const HttpAnswer& answer);

/// One label: what its sender was told in the end.
struct LoadRun {
  std::string label;
  int rows{0};
  bool persistent{false};  ///< Its sender repeats it with the same label, as connectors do.
  bool done{false};
  int repeats{0};
  std::string last;  ///< The last answer that was not "done".
};

/// What all senders saw. Thread-safety: any thread.
class LoadRuns {
 public:
  void add(LoadRun run);
  std::vector<LoadRun> all() const;

 private:
  mutable std::mutex mutex_;
  std::vector<LoadRun> runs_;
};

/// What is in the table of one label, as its rows say.
struct LabelRows {
  std::string label;
  std::uint64_t rows{0}, different{0};
};

struct LabelCounts {
  std::uint64_t sent{0};              ///< Labels that were acknowledged.
  std::uint64_t retried{0};           ///< Tries beyond the first, with the same label.
  std::uint64_t failed{0};            ///< Labels that were not acknowledged.
  std::uint64_t lost{0}, doubled{0};  ///< Acknowledged labels with rows missing; labels with rows there twice.
  std::uint64_t halves{0};            ///< Not acknowledged, and some of their rows are there, not all.
  std::uint64_t rows{0}, rows_missing{0}, rows_duplicated{0}, rows_unasked{0};
  std::vector<std::string> details;
};
/// Labels of senders of one kind, compared with the table. Pure.
LabelCounts count_labels(const std::vector<LoadRun>& runs, bool persistent, const std::vector<LabelRows>& there);

struct LoadSender {
  std::vector<std::string> addresses;                   ///< HTTP, of the frontends.
  std::function<bool(std::size_t address)> in_service;  ///< As a balancer sees it.
  std::string path;                                     ///< "/api/db/table/_stream_load"
  std::string prefix;                                   ///< Of its labels.
  bool persistent{true};
  int rows{200};
  std::function<bool()> give_up;  ///< Nothing will ever answer again.
  Duration pause{std::chrono::milliseconds(200)};
};
/// Sends one label after another until `stopping`, and leaves none without its end. Blocks.
void run_sender(const LoadSender& sender, LoadRuns& runs, const std::atomic<bool>& stopping);

}  // namespace outlast::cli
