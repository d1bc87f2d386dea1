#include "meta/tasks.h"

#include <algorithm>
#include <random>

#include "meta/cas.h"
#include "meta/json_fields.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {
constexpr int kAttempts = 64;

Result<TaskState> parse_state(std::string_view text) {
  for (const auto state :
       {TaskState::kRunning, TaskState::kPaused, TaskState::kCompleted, TaskState::kCancelled, TaskState::kFailed})
    if (to_string(state) == text) return state;
  return Error(Errc::kCorrupt, "a task record has the unknown state \"" + std::string(text) + "\"");
}

std::string new_request() {
  thread_local std::mt19937_64 random{std::random_device{}()};
  return std::to_string(random()) + "." + std::to_string(random());
}

struct Stored {
  TaskRecord record;
  Revision mod;
};
/// By id; a record that cannot be read hides what it wants, so nothing is decided beside it.
Result<std::vector<Stored>> decode_all(const std::vector<KeyValue>& kvs) {
  std::vector<Stored> out;
  for (const KeyValue& kv : kvs) {
    ASSIGN_OR_RETURN(TaskRecord record, decode_task_record(kv.value));
    out.push_back({std::move(record), kv.mod_revision});
  }
  std::ranges::sort(out, {}, [](const Stored& each) { return each.record.id; });
  return out;
}

/// One creation on its way; keeps itself alive through the callbacks it hands to the store. Every creation changes the
/// counter, so an unchanged one says that no other task began.
class Creation : public std::enable_shared_from_this<Creation> {
 public:
  Creation(Store& store, NewTask task, Callback<TaskRecord> done)
      : store_(store), task_(std::move(task)), done_(std::move(done)), request_(new_request()) {}

  void start() {
    Txn read;
    read.then = {Op::get(std::string(keys::kTaskCounter)), Op::get_prefix(std::string(keys::kTasks))};
    store_.txn(std::move(read), kMetaTimeout,
               [self = shared_from_this()](Result<TxnReply> reply) { self->on_read(std::move(reply)); });
  }

 private:
  void on_read(Result<TxnReply> reply) {
    if (!reply.ok()) return finish(std::move(reply).error());
    auto there = decode_all(reply->replies[1].kvs);
    if (!there.ok()) return finish(std::move(there).error());
    for (Stored& each : *there)
      if (each.record.request == request_) return finish(std::move(each.record));  // an answer was lost
    auto write = plan(reply->replies[0].kvs, *there);
    if (!write.ok()) return finish(std::move(write).error());
    store_.txn(*std::move(write), kMetaTimeout,
               [self = shared_from_this()](Result<TxnReply> written) { self->on_written(std::move(written)); });
  }

  Result<Txn> plan(const std::vector<KeyValue>& counter, const std::vector<Stored>& there) {
    const auto last = counter.empty() ? std::optional<std::uint64_t>(0) : keys::parse_number(counter[0].value);
    if (!last) return Error(Errc::kCorrupt, "the metadata counter of tasks holds no usable number");
    std::vector<TaskRecord> records;
    Txn write;
    for (const Stored& each : there) {
      records.push_back(each.record);
      if (!is_over(each.record.state))
        write.compares.push_back(Compare::unchanged(keys::task(each.record.id), each.mod));
    }
    planned_ = {.id = *last + 1,
                .kind = task_.kind,
                .by = task_.by,
                .started_micros = task_.started_micros,
                .request = request_};
    ASSIGN_OR_RETURN(planned_.body, task_.body(planned_.id, records));
    write.compares.push_back(
        Compare::unchanged(std::string(keys::kTaskCounter), counter.empty() ? Revision{} : counter[0].mod_revision));
    write.compares.push_back(Compare::absent(keys::task(planned_.id)));
    write.then = {Op::put(std::string(keys::kTaskCounter), std::to_string(planned_.id)),
                  Op::put(keys::task(planned_.id), encode(planned_))};
    return write;
  }

  void on_written(Result<TxnReply> reply) {
    if (reply.ok() && reply->succeeded) return finish(std::move(planned_));
    if (!reply.ok() && reply.error().code != Errc::kMetaInDoubt) return finish(std::move(reply).error());
    in_doubt_ = in_doubt_ || !reply.ok();
    if (--attempts_ > 0) return start();
    finish(reply.ok() ? Error(Errc::kMetaConflict, "others kept changing the tasks; nothing was begun, try again")
                      : std::move(reply).error());
  }

  void finish(Result<TaskRecord> result) {
    const bool claims_nothing =
        !result.ok() && (result.error().code == Errc::kMetaUnavailable || result.error().code == Errc::kMetaConflict);
    if (in_doubt_ && claims_nothing) result.error().code = Errc::kMetaInDoubt;
    std::exchange(done_, {})(std::move(result));
  }

  Store& store_;
  NewTask task_;
  Callback<TaskRecord> done_;
  const std::string request_;
  TaskRecord planned_;
  int attempts_{kAttempts};
  bool in_doubt_{false};
};

}  // namespace

std::string_view to_string(TaskState state) {
  switch (state) {
    case TaskState::kRunning:
      return "running";
    case TaskState::kPaused:
      return "paused";
    case TaskState::kCompleted:
      return "completed";
    case TaskState::kCancelled:
      return "cancelled";
    case TaskState::kFailed:
      return "failed";
  }
  return "failed";
}

std::string encode(const TaskRecord& record) {
  return boost::json::serialize(boost::json::object{{"id", record.id},
                                                    {"kind", record.kind},
                                                    {"state", std::string(to_string(record.state))},
                                                    {"by", record.by},
                                                    {"started", record.started_micros},
                                                    {"ended", record.ended_micros},
                                                    {"outcome", record.outcome},
                                                    {"body", record.body},
                                                    {"request", record.request}});
}

Result<TaskRecord> decode_task_record(std::string_view text) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(text, "a task record"));
  TaskRecord record{.id = fields.number("id"),
                    .kind = fields.text("kind"),
                    .by = fields.text("by"),
                    .started_micros = fields.signed_number("started"),
                    .ended_micros = fields.signed_number("ended"),
                    .outcome = fields.text("outcome"),
                    .body = fields.text("body"),
                    .request = fields.text("request")};
  const std::string state = fields.text("state");
  TRY(fields.check());
  if (record.id == 0) return Error(Errc::kCorrupt, "a task record lacks its id");
  ASSIGN_OR_RETURN(record.state, parse_state(state));
  return record;
}

std::unique_ptr<TaskMirror> mirror_tasks(Store& store) {
  return std::make_unique<TaskMirror>(store, std::string(keys::kTasks), [](std::string_view, std::string_view value) {
    return decode_task_record(value);
  });
}

void create_task(Store& store, NewTask task, Callback<TaskRecord> done) {
  std::make_shared<Creation>(store, std::move(task), std::move(done))->start();
}

void change_task(Store& store, std::uint64_t id, TaskPlanner plan, std::vector<Compare> also,
                 Callback<TaskRecord> done) {
  const std::string key = keys::task(id);
  auto result = std::make_shared<TaskRecord>();
  Planner planner = [id, key, result, plan = std::move(plan),
                     also = std::move(also)](const Snapshot& seen) mutable -> Result<Plan> {
    const auto there = seen.find(key);
    if (there == seen.end()) return Error(Errc::kNotFound, "there is no task " + std::to_string(id));
    ASSIGN_OR_RETURN(const TaskRecord now, decode_task_record(there->second.value));
    ASSIGN_OR_RETURN(TaskRecord next, plan(now));
    next.id = now.id;
    next.kind = now.kind;
    next.request = now.request;
    *result = std::move(next);
    if (*result == now) return Plan{};
    return Plan{.ops = {Op::put(key, encode(*result))}, .compares = also};
  };
  update(store, {key}, std::move(planner), [result, done = std::move(done)](Result<Revision> written) mutable {
    if (!written.ok()) return done(std::move(written).error());
    done(std::move(*result));
  });
}

void prune_tasks(Store& store, std::size_t keep, Callback<std::size_t> done) {
  Txn read;
  read.then = {Op::get_prefix(std::string(keys::kTasks))};
  store.txn(std::move(read), kMetaTimeout, [&store, keep, done = std::move(done)](Result<TxnReply> reply) mutable {
    if (!reply.ok()) return done(std::move(reply).error());
    auto all = decode_all(reply->replies[0].kvs);
    if (!all.ok()) return done(std::move(all).error());
    std::vector<std::string> over;
    for (const Stored& each : *all)
      if (is_over(each.record.state)) over.push_back(keys::task(each.record.id));
    over.resize(over.size() - std::min(keep, over.size()));
    erase(store, std::move(over), std::move(done));
  });
}

}  // namespace outlast::meta
