#include "tests/sim/client.h"

#include "executor/row_batch.h"

namespace outlast::sim {
using namespace std::chrono_literals;
using Kind = Operation::Kind;

namespace {
bool writes(Kind kind) {
  return kind != Kind::kRead;
}

/// The first value of the first row as text; "" when there is none.
std::string first_value(const proto::ExecReply& reply) {
  executor::RowReader rows(reply.rows(), static_cast<std::size_t>(reply.columns_size()));
  std::vector<executor::Value> row;
  if (rows.done() || !rows.next(row).ok() || row.empty()) return "";
  if (const auto* text = std::get_if<std::string>(&row[0])) return *text;
  if (const auto* number = std::get_if<std::int64_t>(&row[0])) return std::to_string(*number);
  return "";
}
}  // namespace

Client::Client(Cluster& cluster, Histories& histories, int number, int objects)
    : cluster_(cluster), histories_(histories), number_(number), objects_(objects) {
  gateway_ = static_cast<int>(cluster_.world.random().below(static_cast<std::uint64_t>(cluster_.size())));
}

void Client::start() {
  next();
}

void Client::set_up(std::vector<std::string> sql, std::function<void()> ready) {
  set_up_ = std::move(sql);
  ready_ = std::move(ready);
  next();
}

void Client::next() {
  op_.reset();
  ++attempt_;
  if (stopped_ || has_read_all()) return;
  cluster_.world.plan(0, cluster_.world.between(100us, think), "client", [this, mine = attempt_] {
    if (mine == attempt_) begin_operation();
  });
}

void Client::read_all() {
  sweep_.emplace();
  for (int key = 0; key < objects_; ++key) sweep_->push_back(key);
  next();
}

Process* Client::gateway() const {
  Process* process = cluster_.machine(gateway_).process.get();
  return process != nullptr && process->serving() && !process->loop.doomed() ? process : nullptr;
}

void Client::begin_operation() {
  Random& random = cluster_.world.random();
  if (stopped_) return;
  if (at_leader && gateway() == nullptr)
    for (const auto& [range, config] : cluster_.oracle.records())
      if (const Process* leader = cluster_.leader_of(range)) gateway_ = cluster_.find(leader->self().node)->index;
  if (gateway() == nullptr || (!at_leader && random.below(100) == 0)) {  // connects elsewhere
    gateway_ = static_cast<int>(random.below(static_cast<std::uint64_t>(cluster_.size())));
    if (gateway() == nullptr) return next();
  }
  op_.emplace();
  op_->client = number_;
  op_->invoked = ++histories_.moments;
  key_ = static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(objects_)));
  if (sweep_) key_ = sweep_->back();
  const std::uint64_t dice = random.below(100);
  const bool read = dice < 40;
  if (key_ % 3 == 0)
    op_->kind = read ? Kind::kRead : dice < 85 ? Kind::kWrite : Kind::kSwap;
  else if (key_ % 3 == 1)
    op_->kind = read ? Kind::kRead : Kind::kAppend;
  else
    op_->kind = read && dice < 20 ? Kind::kRead : dice < 70 ? Kind::kInsert : Kind::kRemove;
  if (!set_up_.empty()) op_->kind = Kind::kWrite;
  if (sweep_) op_->kind = Kind::kRead;
  object_ = std::string(1, "rls"[key_ % 3]) + std::to_string(key_);
  op_->argument = "<" + std::to_string(number_) + "." + std::to_string(++written_) + ">";
  give_up_ = cluster_.world.now() + 4s;
  pause_ = 5ms;
  sent_write_ = false;
  seen_.reset();
  attempt();
}

void Client::attempt() {
  Process* const process = gateway();
  ++attempt_;
  if (process == nullptr) return end(!sent_write_, std::nullopt);
  process->loop.plan(cluster_.world.between(20us, 300us), "gateway", [this, mine = attempt_] {
    if (mine != attempt_) return;
    std::optional<gateway::Route> route;
    if (!find_route(route) || !connect(*route)) return retry();
    ask(0);
  });
}

/// By the gateway's table.
bool Client::find_route(std::optional<gateway::Route>& route) {
  const Process* const process = gateway();
  if (process == nullptr) return false;
  const auto row = process->state->find_database("db");
  if (!row) return false;
  route = process->state->routes().find(row->range).route;
  range_ = row->range;
  return route.has_value();
}

/// As its gateway would, in good order.
void Client::close() {
  if (!stream_) return;
  stream_->lingers = false;
  cluster_.network.cut(stream_);
  stream_.reset();
}

bool Client::connect(const gateway::Route& route) {
  const Process* const process = gateway();
  const bool same = stream_ && stream_->open && route_.node == route.node && route_.incarnation == route.incarnation &&
                    stream_->owners[0] == process->loop.owner();
  route_ = route;
  if (!same) {
    close();
    const auto view = process->liveness->current(route.node);
    if (!view || view->peer.incarnation != route.incarnation) return false;
    stream_ = cluster_.network.open(gateway_, Cluster::machine_at(view->addr));
    if (!stream_) return false;
    stream_->lingers = true;
  }
  return true;
}

void Client::ask(std::size_t step) {
  const std::vector<Step> all = steps();
  ++attempt_;
  if (writes(op_->kind) && step + 1 == all.size()) {  // until its COMMIT a transaction is nothing
    sent_write_ = true;
    const Lsn after = durable_epoch_ == route_.epoch ? durable_ : Lsn();
    write_ = {range_, request_id(), route_.epoch, after, cluster_.world.now(), {}};
  }
  call(
      request(all[step]), [this] { broken(); },
      [this, step](proto::ExecReply reply) { answer(step, std::move(reply)); });
}

/// One request on the channel; both callbacks only as long as nothing else was begun.
void Client::call(proto::ExecRequest request, std::function<void()> broke, std::function<void(proto::ExecReply)> got) {
  const std::uint64_t mine = attempt_;
  stream_->broken[0] = [this, mine, broke = std::move(broke)] {
    if (mine == attempt_) broke();
  };
  Process* const target = cluster_.machine(stream_->machines[1]).process.get();
  if (target == nullptr || target->loop.owner() != stream_->owners[1]) return;  // the break is on its way
  cluster_.network.send(stream_, 1, "exec",
                        [this, target, stream = stream_, mine, got = std::move(got), what = std::move(request)] {
                          target->serve(stream, what, [this, mine, got](proto::ExecReply reply) {
                            if (mine == attempt_) got(std::move(reply));
                          });
                        });
}

void Client::answer(std::size_t step, proto::ExecReply reply) {
  const std::size_t last = steps().size() - 1;
  if (reply.lsn() > 0) {
    durable_ = Lsn(std::max(reply.lsn(), durable_epoch_ == route_.epoch ? durable_.value : 0));
    durable_epoch_ = route_.epoch;
  }
  if (reply.has_error()) {
    const Error error = gateway::to_error(reply);
    if (op_->kind == Kind::kInsert && error.code == Errc::kUniqueViolation) return succeed("1");
    if (last > 0) {  // the transaction goes with its channel
      close();
    }
    return judge(error, reply.nothing_applied(), true);
  }
  if (step == 0 && last > 0) seen_ = first_value(reply);
  if (step < last) return ask(step + 1);
  succeed_with(reply);
}

void Client::succeed_with(const proto::ExecReply& reply) {
  switch (op_->kind) {
    case Kind::kRead:
      return succeed(first_value(reply));
    case Kind::kSwap:
      return succeed(seen_);
    case Kind::kInsert:
      return succeed("");
    case Kind::kRemove:
      return succeed(reply.changes() > 0 ? "1" : "");
    default:
      return succeed(std::nullopt);
  }
}

void Client::broken() {
  stream_.reset();
  judge({Errc::kUnavailable, "the channel broke"}, false, false);
}

void Client::judge(const Error& error, bool nothing_applied, bool alive) {
  const bool harmless = !writes(op_->kind) || !sent_write_;
  const gateway::Verdict verdict = gateway::judge({error.code, nothing_applied, alive, harmless});
  if (verdict == gateway::Verdict::kRepeat) {
    sent_write_ = false;
    return retry();
  }
  if (verdict == gateway::Verdict::kUnknown || error.code == Errc::kUnknownOutcome) return in_doubt();
  cluster_.world.trace("client " + std::to_string(number_) + ": " + error.to_string());
  ++histories_.failed;
  end(true, std::nullopt);
}

void Client::in_doubt() {
  if (!writes(op_->kind) || !sent_write_) return end(false, std::nullopt);
  write_.give_up = cluster_.world.now() + 6s;
  pause_ = 5ms;
  resolve();
}

/// Everything so far provably did nothing: once more, or not at all.
void Client::retry() {
  ++attempt_;
  if (cluster_.world.now() > give_up_) return end(true, std::nullopt);
  const Duration wait = cluster_.world.between(pause_ / 2, pause_);
  pause_ = std::min<Duration>(pause_ * 2, 250ms);
  cluster_.world.plan(0, wait, "retry", [this, mine = attempt_] {
    if (mine == attempt_) attempt();
  });
}

void Client::succeed(std::optional<std::string> result) {
  if (!set_up_.empty()) {
    set_up_.erase(set_up_.begin());
    if (set_up_.empty() && ready_) std::exchange(ready_, nullptr)();
    return next();
  }
  if (sweep_) sweep_->pop_back();
  op_->returned = ++histories_.moments;
  op_->result = std::move(result);
  ++histories_.done;
  if (writes(op_->kind)) histories_.last_write = cluster_.world.now();
  if (cluster_.world.tracing) cluster_.world.trace(object_ + ": " + describe(*op_));
  cluster_.world.note(describe(*op_));
  histories_.objects[object_].push_back(*std::move(op_));
  next();
}

/// Without success: nothing happened (known), or nobody can say.
void Client::end(bool known, std::optional<std::string>) {
  if (!known && op_ && writes(op_->kind) && set_up_.empty()) {
    ++histories_.unknown;
    if (seen_) op_->result = seen_;
    if (cluster_.world.tracing) cluster_.world.trace(object_ + ": " + describe(*op_));
    histories_.objects[object_].push_back(*std::move(op_));
  }
  next();
}

void Client::process_gone(int machine) {
  if (machine != gateway_) return;
  close();  // it may still be that of an earlier gateway
  if (!op_) return;
  end(!sent_write_, std::nullopt);
}

}  // namespace outlast::sim
