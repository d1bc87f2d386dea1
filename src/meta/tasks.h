#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "meta/mirror.h"

namespace outlast::meta {

enum class TaskState : std::uint8_t { kRunning, kPaused, kCompleted, kCancelled, kFailed };
std::string_view to_string(TaskState state);
constexpr bool is_over(TaskState state) {
  return state != TaskState::kRunning && state != TaskState::kPaused;
}

inline constexpr std::string_view kDecommissionTask = "decommission";  ///< Body: lifecycle::DecommissionRecord.
inline constexpr std::string_view kRollingRestartTask = "rolling-restart";

/// /tasks/<id>: durable work of the cluster, run by whoever is the leader frontend. It and the other records are all
/// that the next one needs to go on. Operators write their wishes into it, too.
struct TaskRecord {
  std::uint64_t id{0};
  std::string kind;
  TaskState state{TaskState::kRunning};
  std::string by;                                   ///< Who asked, for display.
  std::int64_t started_micros{0}, ended_micros{0};  ///< Wall clock, for display; 0 = it is not over.
  std::string outcome;                              ///< A sentence; empty while it runs.
  std::string body;                                 ///< JSON text of its kind's own record.
  std::string request;                              ///< Which request made it: its author knows its own success again.
  friend bool operator==(const TaskRecord&, const TaskRecord&) = default;
};
std::string encode(const TaskRecord& record);
Result<TaskRecord> decode_task_record(std::string_view text);

using TaskMirror = Mirror<TaskRecord>;
std::unique_ptr<TaskMirror> mirror_tasks(Store& store);
inline constexpr std::size_t kEndedTasksKept = 100;

// All call back on the store's loop and may be repeated after any error. Errors: the store's and those named.

/// What a new task begins with. `body` is asked once an id is known, with the tasks that are there at that instant in
/// the order of their ids: none of those that are not over changes, and no other one begins, until the new one is
/// stored. It may refuse; it is asked again when somebody was faster.
struct NewTask {
  std::string kind, by;
  std::int64_t started_micros{0};
  std::move_only_function<Result<std::string>(std::uint64_t id, const std::vector<TaskRecord>& there)> body;
};
void create_task(Store& store, NewTask task, Callback<TaskRecord> done);

/// The next record, decided from the present one; the same one when what was wanted is already there, so that it may be
/// asked again after an answer was lost. Id, kind and request stay what they are.
using TaskPlanner = std::move_only_function<Result<TaskRecord>(const TaskRecord& now)>;
/// Changes one task, while all of `also` hold (the office's guard, memberships): else kMetaConflict. kNotFound for a
/// task that does not exist.
void change_task(Store& store, std::uint64_t id, TaskPlanner plan, std::vector<Compare> also,
                 Callback<TaskRecord> done);
/// Deletes the oldest of those that are over, beyond the newest `keep`; returns how many went. For the leader frontend.
void prune_tasks(Store& store, std::size_t keep, Callback<std::size_t> done);

}  // namespace outlast::meta
