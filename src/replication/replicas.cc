#include "replication/replicas.h"

#include <spdlog/spdlog.h>

#include "replication/range_machine.h"

namespace outlast::replication {
namespace {
std::optional<RangeId> range_of(const std::string& key) {
  const auto number = meta::keys::parse_number(meta::keys::rest(key, meta::keys::kRanges));
  if (!number) return std::nullopt;
  return RangeId(*number);
}
}  // namespace

Replicas::Replicas(Deps deps, Identity self, Parameters parameters, PlantedBugs bugs) : deps_(std::move(deps)) {
  Identity me = self;
  node_ = std::make_shared<NodeContext>(NodeContext{
      .loop = deps_.loop,
      .logs = deps_.logs,
      .workers = deps_.workers,
      .copiers = deps_.copiers != nullptr ? *deps_.copiers : deps_.workers,
      .store = deps_.store,
      .transport = deps_.transport,
      .nodes = deps_.nodes,
      .records = nullptr,
      .self = std::move(self),
      .parameters = parameters,
      .bugs = bugs,
      .encode = deps_.encode,
      .requests =
          std::make_shared<RequestMemory>(deps_.request_of, parameters.resolve_window, parameters.resolve_bytes, bugs),
      .lease_deadline = deps_.lease_deadline,
      .confirm_all_reads = deps_.confirm_all_reads,
      .publish = [this](RangeId range, LeasedRangePtr served) { publish(range, std::move(served)); },
      .report_damage =
          [this](RangeId range, const Error& why) {
            if (deps_.on_replica_damaged) deps_.on_replica_damaged(range, why);
          },
      .report_regression =
          [this](RangeId range, const Error& why) {
            if (deps_.on_record_regressed) deps_.on_record_regressed(range, why);
          },
      .report_disk_failure =
          [this](RangeId range, const Error& why, bool marked) {
            if (deps_.on_disk_failure) deps_.on_disk_failure(range, why, marked);
          },
      .forget =
          [this](RangeId range) {
            deps_.loop.post([this, alive = std::weak_ptr(alive_), range] {
              if (!alive.expired()) machines_.erase(range);
            });
          },
      .note_disk_full =
          [this] {
            deps_.loop.post([this, alive = std::weak_ptr(alive_)] {
              if (!alive.expired()) set_disk_low(true);
            });
          },
      .sweep = nullptr,
  });
  node_->snapshots = std::make_shared<SnapshotLine>(deps_.loop, parameters.snapshots_at_once, parameters.snapshot_rate);
  records_ = std::make_unique<RecordWriter>(deps_.loop, deps_.meta, std::move(me), node_->parameters, bugs);
  node_->records = records_.get();
  sweep_ = std::make_unique<RemovalSweep>(deps_.loop, node_->parameters, [this](RangeId range) {
    const RangeMachine* found = machine(range);
    if (const auto leader = found != nullptr && !stopped_ ? found->leader() : nullptr) leader->remove_dead();
  });
  node_->sweep = sweep_.get();
  scrubber_ = std::make_unique<Scrubber>(deps_.loop, [this](RangeId after) {
    for (auto it = machines_.upper_bound(after); it != machines_.end(); ++it)
      if (auto held = it->second->held(); held && !held->failed) return held;
    return std::shared_ptr<HeldReplica>();
  });
}

Replicas::~Replicas() {
  for (const auto watch : watches_) deps_.meta.unwatch(watch);
  stop_all({Errc::kShuttingDown, "the node stops"});
  machines_.clear();
  node_->publish = [](RangeId, const LeasedRangePtr&) {};
  node_->note_disk_full = [] {};
  node_->report_damage = [](RangeId, const Error&) {};
  node_->report_regression = [](RangeId, const Error&) {};
  node_->report_disk_failure = [](RangeId, const Error&, bool) {};
  node_->forget = [](RangeId) {};
}

void Replicas::start() {
  scrubber_->set_rate(node_->parameters.scrub_rate);
  for (storage::ReplicaIdentity& identity : deps_.store.list()) {
    if (identity.store_uuid != node_->self.store_uuid) continue;  // storage refuses foreign stores; belt and braces
    make_machine(identity.range)->open_existing(identity);
  }
  // Fences first: a record without its fences would look as if its dead leaseholder lived.
  watches_.push_back(
      deps_.meta.watch(std::string(meta::keys::kFences), [this](const meta::WatchBatch& batch) { on_fences(batch); }));
  watches_.push_back(
      deps_.meta.watch(std::string(meta::keys::kRanges), [this](const meta::WatchBatch& batch) { on_ranges(batch); }));
}

std::shared_ptr<RangeMachine> Replicas::make_machine(RangeId range) {
  auto& slot = machines_[range];
  if (!slot) slot = std::make_shared<RangeMachine>(node_, range);
  return slot;
}

RangeMachine* Replicas::machine(RangeId range) const {
  const auto it = machines_.find(range);
  return it == machines_.end() ? nullptr : it->second.get();
}

void Replicas::on_ranges(const meta::WatchBatch& batch) {
  if (stopped_) return;
  if (batch.kind == meta::WatchBatch::Kind::kReset) {
    std::set<RangeId> present;
    for (const meta::KeyValue& kv : batch.state)
      if (const auto id = range_of(kv.key)) present.insert(*id);
    auto copy = machines_;  // a machine may forget itself
    for (const auto& [id, machine] : copy)
      if (!present.contains(id)) machine->on_record_gone();
    for (const meta::KeyValue& kv : batch.state) on_range_record(kv);
    return;
  }
  for (const meta::Event& event : batch.events) {
    if (event.kind == meta::Event::Kind::kPut)
      on_range_record(event.kv);
    else if (const auto id = range_of(event.kv.key))
      if (const auto it = machines_.find(*id); it != machines_.end()) {
        const auto keep = it->second;
        keep->on_record_gone();
      }
  }
}

void Replicas::on_range_record(const meta::KeyValue& kv) {
  auto config = placement::decode_range_config(kv.value);
  if (!config.ok()) {
    spdlog::error("{}: {}", kv.key, config.error().to_string());
    return;
  }
  RangeMachine* known = machine(config->range);
  if (known == nullptr && config->find(node_->self.node) == nullptr) return;  // none of ours
  const auto keep = make_machine(config->range);
  keep->on_record(*config, kv.mod_revision);
}

void Replicas::on_fences(const meta::WatchBatch& batch) {
  for (const meta::KeyValue& kv : batch.state) add_fence(kv.key);
  for (const meta::Event& event : batch.events)
    if (event.kind == meta::Event::Kind::kPut) add_fence(event.kv.key);
  if (stopped_) return;
  auto copy = machines_;
  for (const auto& [id, machine] : copy) machine->evaluate();
}

void Replicas::add_fence(const std::string& key) {
  const auto peer = meta::keys::parse_peer(key, meta::keys::kFences);
  if (!peer) return;
  const auto& [node, incarnation] = *peer;
  node_->fences.emplace(node, incarnation);
  if (node != node_->self.node || incarnation != node_->self.incarnation || stopped_) return;
  stop_all({Errc::kFenced, "this process was fenced; it is finished"});
  if (deps_.on_fenced) deps_.on_fenced();
}

void Replicas::stop_all(const Error& why) {
  stopped_ = true;
  for (const auto& [id, machine] : machines_) machine->stop(why);
}

void Replicas::peer_up(NodeId node, Incarnation incarnation) {
  if (stopped_) return;
  node_->peers[node] = incarnation;
  for (const auto& [id, machine] : machines_) machine->peer_up(node);
}

void Replicas::peer_down(NodeId node) {
  if (stopped_ || node_->peers.erase(node) == 0) return;
  for (const auto& [id, machine] : machines_) machine->peer_down(node);
}

void Replicas::on_message(NodeId from, Incarnation incarnation, proto::RangeMessage message) {
  if (stopped_) return;
  const RangeId range(message.range());
  if (machine(range) == nullptr) {
    if (message.body_case() == proto::RangeMessage::kRecoveryState ||
        message.body_case() == proto::RangeMessage::kRefused)
      return;
    // Not even a record yet: an empty machine answers that there is no such replica, for this once.
    return std::make_shared<RangeMachine>(node_, range)->on_message(from, incarnation, std::move(message));
  }
  const auto keep = machines_.at(range);
  keep->on_message(from, incarnation, std::move(message));
}

void Replicas::nodes_changed() {
  if (stopped_) return;
  auto copy = machines_;  // a machine may forget itself
  for (const auto& [id, machine] : copy)
    if (const auto leader = machine->leader()) leader->advance();
}

void Replicas::set_disk_low(bool low) {
  if (stopped_ || node_->disk_low == low) return;
  node_->disk_low = low;
  if (low)
    spdlog::warn("the disk of the store is full; writes go where there is room, or wait for it");
  else
    spdlog::info("the disk of the store has room again");
  auto copy = machines_;  // a machine may forget itself
  for (const auto& [id, machine] : copy) machine->room_changed();
}

void Replicas::publish(RangeId range, LeasedRangePtr served) {
  const Epoch epoch = served ? served->epoch() : Epoch();
  const bool leading = served != nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (leading)
      served_[range] = std::move(served);
    else
      served_.erase(range);
  }
  if (deps_.on_leases_changed) deps_.on_leases_changed(range, epoch, leading);
}

Result<LeasedRangePtr> Replicas::find(RangeId range, Epoch epoch) const {
  const std::lock_guard lock(mutex_);
  const auto it = served_.find(range);
  if (it == served_.end() || (epoch && it->second->epoch() != epoch))
    return Error(Errc::kNotLeaseholder, "range " + range.to_string() + " is not led here in that epoch");
  return it->second;
}

void Replicas::place(placement::Step step, Callback<void> done) {
  RangeMachine* found = machine(step.range);
  const auto leader = found != nullptr && !stopped_ ? found->leader() : nullptr;
  if (!leader)
    return done(Error(Errc::kNotLeaseholder, "range " + step.range.to_string() + " is not led by this node"));
  leader->step(step, std::move(done));
}

void Replicas::transfer(RangeId range, NodeId target, Callback<void> done) {
  place({placement::Step::Kind::kTransferLease, range, target, 0}, std::move(done));
}

void Replicas::digest(RangeId range, Callback<storage::Digest> done) {
  RangeMachine* found = machine(range);
  if (found == nullptr || stopped_)
    return done(Error(Errc::kNotFound, "range " + range.to_string() + " has no replica on this node"));
  const auto keep = machines_.at(range);
  keep->digest(std::move(done));
}

void Replicas::hold_apply(RangeId range, Duration at_most) {
  if (RangeMachine* found = machine(range); found != nullptr && !stopped_) found->hold_apply(at_most);
}

void Replicas::digest_at(RangeId range, Lsn lsn, Callback<storage::Digest> done) {
  RangeMachine* found = machine(range);
  if (found == nullptr || stopped_)
    return done(Error(Errc::kNotFound, "range " + range.to_string() + " has no replica on this node"));
  const auto keep = machines_.at(range);
  keep->digest_at(lsn, std::move(done));
}

std::vector<ReplicaState> Replicas::states(const std::vector<RangeId>& only) const {
  std::vector<ReplicaState> out;
  const auto add = [&out](const RangeMachine* found) {
    if (found == nullptr) return;
    if (auto state = found->state()) out.push_back(*std::move(state));
  };
  if (only.empty())
    for (const auto& [id, found] : machines_) add(found.get());
  else
    for (const RangeId range : only) add(machine(range));
  return out;
}

ReplicasStats Replicas::stats() const {
  ReplicasStats out;
  for (const auto& [id, machine] : machines_) {
    const auto held = machine->held();
    if (!held) continue;
    ++out.replicas;
    const auto leader = machine->leader();
    const bool serving = leader && leader->serving();
    out.leases += serving ? 1 : 0;
    out.ranges.push_back({id, held->accepted.epoch, leader != nullptr, serving, held->durable, held->log.tail().lsn});
  }
  return out;
}

std::shared_ptr<LeaseMover> Replicas::transfer_all(LeaseTransferOptions options, Callback<LeaseTransferProgress> done) {
  std::vector<LeaseMover::Lease> leases;
  for (const auto& [id, machine] : machines_)
    if (const auto leader = machine->leader(); leader && leader->serving() && !options.keep.contains(id))
      leases.push_back({id, leader->heat()});
  LeaseMover::Ports ports;
  ports.targets = [this, alive = std::weak_ptr(alive_)](RangeId range) -> std::optional<std::vector<NodeId>> {
    const RangeMachine* found = alive.expired() ? nullptr : machine(range);
    const auto leader = found != nullptr ? found->leader() : nullptr;
    if (!leader || !leader->serving()) return std::nullopt;
    return leader->successors();
  };
  ports.transfer = [this](RangeId range, NodeId target, Callback<void> moved) {
    transfer(range, target, std::move(moved));
  };
  ports.post = [this, alive = std::weak_ptr(alive_)](Task task) {
    if (alive.expired()) return;
    deps_.loop.post([alive, task = std::move(task)]() mutable {
      if (!alive.expired()) task();
    });
  };
  auto mover = std::make_shared<LeaseMover>(std::move(leases), std::move(options), std::move(ports), std::move(done));
  mover->start();
  return mover;
}

void Replicas::hold_leases() {
  for (const auto& [id, machine] : machines_)
    if (const auto leader = machine->leader()) leader->hold();
}

void Replicas::end_hold() {
  for (const auto& [id, machine] : machines_)
    if (const auto leader = machine->leader()) leader->end_hold();
}

void Replicas::shutdown(Duration limit, Callback<std::size_t> done) {
  if (node_->leaving || stopped_) return done(Error(Errc::kInvalidState, "the replicas are stopping already"));
  node_->leaving = true;
  const auto mover = transfer_all(
      {}, [this, alive = std::weak_ptr(alive_), done = std::move(done)](const Result<LeaseTransferProgress>&) mutable {
        if (!alive.expired()) end_shutdown(std::move(done));
      });
  shutdown_timer_ = deps_.loop.after(limit, [this, alive = std::weak_ptr(alive_), mover] {
    if (alive.expired()) return;
    shutdown_timer_ = 0;
    mover->stop();  // a transfer in doubt does not hold the node back: what still leads here is fenced with it
  });
}

void Replicas::end_shutdown(Callback<std::size_t> done) {
  if (shutdown_timer_ != 0) deps_.loop.cancel(std::exchange(shutdown_timer_, 0));
  const std::size_t left = stats().leases;
  // What still leads here stops for good; as a follower this node goes on until the process ends, so that the new
  // leaseholders need not wait for it.
  for (const auto& [id, machine] : machines_)
    if (machine->leader()) machine->stop({Errc::kShuttingDown, "the node stops"});
  done(left);
}

}  // namespace outlast::replication
