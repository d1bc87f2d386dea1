#include "meta/liveness_driver.h"

#include <algorithm>

#include "meta/events.h"
#include "meta/fencing.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {
constexpr Duration kDeathPoll = std::chrono::milliseconds(50);
constexpr Duration kFenceTimeout = std::chrono::seconds(1);
}  // namespace

template <class F>
auto LivenessDriver::guarded(F f) {
  return [alive = std::weak_ptr<int>(alive_), f = std::move(f)](auto&&... args) mutable {
    if (alive.lock()) f(std::forward<decltype(args)>(args)...);
  };
}

LivenessDriver::LivenessDriver(Store& store, Loop& loop, Options options)
    : store_(store),
      loop_(loop),
      self_(options.self),
      addr_(std::move(options.addr)),
      params_(options.params),
      deaths_(options.deaths),
      random_(options.seed),
      renewer_(options.params, options.renewer_bugs),
      observer_(options.params, options.self, options.observer_bugs),
      fences_(mirror_fences(store)) {
  OUTLAST_ASSERT(params_.validate().ok(), "liveness parameters must be valid");
  records_ = std::make_unique<Mirror<LiveRecord>>(
      store, std::string(keys::kLive),
      [](std::string_view, std::string_view value) { return decode_live_record(value); });
  watch_records();
  store_.on_connection(guarded([this](bool connected) { observer_.on_connection(connected, loop_.now()); }));
}

LivenessDriver::~LivenessDriver() {
  deadline_.store(0, std::memory_order_release);
  loop_.cancel(timer_);
}

void LivenessDriver::watch_records() {
  records_->on_change([this](const Mirror<LiveRecord>::Change& change) {
    const auto peer = keys::parse_peer(change.key, keys::kLive);
    if (!peer) return;
    if (change.after)
      observer_.on_record(*peer, change.after->mod_revision, change.after->value.ttl, loop_.now());
    else
      observer_.on_removed(*peer);
    refresh(*peer);
  });
  records_->on_batch([this] { tell_if_ready(); });
  fences_->on_batch([this] { tell_if_ready(); });
  fences_->on_change([this](const FenceMirror::Change& change) {
    if (!change.after) return;  // cleaned away: the incarnation stays finished for whoever saw it
    const liveness::Peer peer = change.after->value;
    observer_.on_fence(peer);
    if (deaths_ != nullptr) deaths_->forget(peer);
    if (peer == self_) end_for_ever();
    refresh(peer);
  });
}

void LivenessDriver::start(Phase phase, Callback<void> ready) {
  OUTLAST_ASSERT(!started_, "a driver starts once");
  started_ = true;
  phase_ = phase;
  ready_ = std::move(ready);
  if (is_fenced()) return loop_.post(guarded([this] { tell_fenced(); }));  // the watch knew before we began
  tick();
}

void LivenessDriver::set_phase(Phase phase) {
  phase_ = phase;
  if (!started_ || stopping_ || is_fenced()) return;
  renewer_.hurry(loop_.now());
  if (renewer_.is_due(loop_.now())) renew(loop_.now());
}

void LivenessDriver::set_params(liveness::Params params) {
  OUTLAST_ASSERT(params.validate().ok(), "liveness parameters must be valid");
  params_ = params;
  renewer_.set_params(params);
  observer_.set_params(params);
  if (started_) set_phase(phase_);  // others learn the new ttl now
}

void LivenessDriver::fence_self(std::string why, Callback<void> done) {
  stopping_ = true;
  renewer_.fence();
  publish_deadline();
  loop_.cancel(std::exchange(timer_, 0));
  fence_now(store_, loop_, self_, "itself", std::move(why), std::move(done));
}

void LivenessDriver::schedule_tick() {
  Duration pause = params_.renew / 4;
  if (deaths_ != nullptr) pause = std::min(pause, kDeathPoll);
  timer_ = loop_.after(pause, [this] { tick(); });
}

void LivenessDriver::tick() {
  const Instant now = loop_.now();
  observer_.tick(now);
  const bool overdue = renewer_.is_under_way() && now - sent_at_ > params_.renew;
  observer_.on_connection(store_.connected() && !overdue, now);
  if (renewer_.is_due(now)) renew(now);
  fence_gone();
  fence_silent(now);
  refresh_all();
  if (!is_fenced() && !stopping_) schedule_tick();
}

// ---- Own renewals ----------------------------------------------------------------------------------------------

void LivenessDriver::renew(Instant now) {
  const std::uint64_t sequence = renewer_.send(now);
  sent_at_ = now;
  publish_deadline();  // a shorter ttl cuts the lease as it is sent
  const std::string live = keys::live(self_), fence = keys::fence(self_);
  Txn txn;
  txn.compares.push_back(Compare::absent(fence));
  // Bound to the record's creation: when somebody cleans up the fence together with the record of a finished
  // incarnation, a late waker does not come to life again.
  txn.compares.push_back(record_created_ ? Compare::exists_since(live, *record_created_) : Compare::absent(live));
  txn.then.push_back(Op::put(live, encode({sequence, phase_, addr_, renewer_.ttl()})));
  txn.otherwise = {Op::get(fence), Op::get(live)};
  phase_sent_ = phase_;
  store_.txn(std::move(txn), 2 * params_.renew,
             guarded([this](Result<TxnReply> reply) { on_renewed(std::move(reply), phase_sent_); }));
}

void LivenessDriver::on_renewed(Result<TxnReply> reply, Phase sent_phase) {
  if (stopping_ || is_fenced()) return;
  if (reply.ok() && reply->succeeded) {
    if (!record_created_) record_created_ = reply->revision;
    return confirm(sent_phase);
  }
  if (reply.ok()) return on_refused(*reply);
  if (reply.error().code == Errc::kMetaInDoubt) return read_back();
  renewer_.fail(loop_.now(), jitter());
}

/// A compare failed: the fence is there, or our record is not what it was.
void LivenessDriver::on_refused(const TxnReply& reply) {
  const bool fenced = !reply.replies[0].kvs.empty();
  const auto& live = reply.replies[1].kvs;
  if (fenced || record_created_ || live.empty()) return end_for_ever();
  // The first record is there though its writing was never confirmed: the answer was lost. Incarnations are drawn
  // once, so it is ours.
  record_created_ = live[0].create_revision;
  renewer_.fail(loop_.now(), jitter());
  renewer_.hurry(loop_.now());
}

void LivenessDriver::read_back() {
  Txn txn;
  txn.then = {Op::get(keys::fence(self_)), Op::get(keys::live(self_))};
  store_.txn(std::move(txn), 2 * params_.renew,
             guarded([this](Result<TxnReply> reply) { on_read_back(std::move(reply)); }));
}

void LivenessDriver::on_read_back(Result<TxnReply> reply) {
  if (stopping_ || is_fenced()) return;
  if (reply.ok()) {
    if (!reply->replies[0].kvs.empty()) return end_for_ever();
    const auto& live = reply->replies[1].kvs;
    if (live.empty() && record_created_) return end_for_ever();
    if (!live.empty()) {
      const auto record = decode_live_record(live[0].value);
      if (!record_created_) record_created_ = live[0].create_revision;
      if (record.ok() && record->sequence == renewer_.last_sequence()) return confirm(phase_sent_);
    }
  }
  // Not stored, or not known: the lease ends as it was, the next renewal has a higher number.
  renewer_.fail(loop_.now(), jitter());
}

void LivenessDriver::confirm(Phase sent_phase) {
  const Instant now = loop_.now();
  if (now - sent_at_ > params_.renew) observer_.on_connection(false, now);  // the next tick starts the session anew
  renewer_.confirm(now, jitter());
  publish_deadline();
  if (sent_phase != phase_) renewer_.hurry(now);
  tell_if_ready();
}

void LivenessDriver::tell_if_ready() {
  if (record_created_ && records_->ready() && fences_->ready()) tell_ready({});
}

void LivenessDriver::publish_deadline() {
  deadline_.store(renewer_.lease_deadline().time_since_epoch().count(), std::memory_order_release);
}

void LivenessDriver::end_for_ever() {
  if (fenced_.exchange(true, std::memory_order_acq_rel)) return;
  renewer_.fence();
  publish_deadline();
  loop_.cancel(std::exchange(timer_, 0));
  if (stopping_) return;
  tell_fenced();
  for (std::size_t i = 0; i < fenced_sinks_.size(); ++i) fenced_sinks_[i]();
}

void LivenessDriver::tell_fenced() {
  tell_ready(Error(Errc::kFenced, "incarnation " + self_.to_string() + " was declared finished; start a new process"));
}

void LivenessDriver::tell_ready(Result<void> result) {
  if (ready_) std::exchange(ready_, {})(std::move(result));
}

// ---- Others ----------------------------------------------------------------------------------------------------

void LivenessDriver::fence_silent(Instant now) {
  if (is_fenced()) return;
  for (const auto& [peer, seen] : observer_.may_fence(now, is_leader_frontend_)) put_fence(peer, seen, "silent");
}

void LivenessDriver::fence_gone() {
  if (deaths_ == nullptr || is_fenced()) return;
  for (const auto& [peer, seen] : observer_.unfenced())
    if (!fencing_.contains(peer) && deaths_->is_gone(peer)) put_fence(peer, std::nullopt, "process is gone");
}

/// `seen`: only if the record did not change since. Without it the process is known to be gone.
void LivenessDriver::put_fence(liveness::Peer peer, std::optional<Revision> seen, const char* why) {
  if (!fencing_.insert(peer).second) return;
  Txn txn;
  txn.compares.push_back(Compare::absent(keys::fence(peer)));
  if (seen) txn.compares.push_back(Compare::unchanged(keys::live(peer), *seen));
  txn.then.push_back(Op::put(keys::fence(peer), encode_fence("node " + self_.node.to_string(), why)));
  txn.then.push_back(event_op(
      {.time_micros = loop_.wall_micros(),
       .type = "node_fenced",
       .node = self_.node,
       .details = {{"fenced_node", peer.node.value}, {"fenced_incarnation", peer.incarnation.value}, {"why", why}}}));
  // Whatever the answer, the watch tells the truth and the next tick asks again if need be.
  store_.txn(std::move(txn), kFenceTimeout, guarded([this, peer](Result<TxnReply>) { fencing_.erase(peer); }));
}

void LivenessDriver::refresh(liveness::Peer peer) {
  PeerView view{.peer = peer, .state = observer_.state(peer, loop_.now()), .phase = Phase::kStandby, .addr = {}};
  if (const auto entry = records_->find(keys::live(peer))) {
    view.phase = entry->value.phase;
    view.addr = entry->value.addr;
  }
  {
    std::lock_guard lock(mutex_);
    const auto it = views_.find(peer);
    if (it == views_.end() ? view.state == liveness::State::kUnknown : it->second == view) return;
    if (view.state == liveness::State::kUnknown)
      views_.erase(it);
    else
      views_.insert_or_assign(peer, view);
  }
  for (std::size_t i = 0; i < peer_sinks_.size(); ++i) peer_sinks_[i](view);
}

void LivenessDriver::refresh_all() {
  for (const PeerView& view : peers()) refresh(view.peer);
}

std::vector<PeerView> LivenessDriver::peers() const {
  std::lock_guard lock(mutex_);
  std::vector<PeerView> all;
  for (const auto& [peer, view] : views_) all.push_back(view);
  return all;
}

std::optional<PeerView> LivenessDriver::current(NodeId node) const {
  std::lock_guard lock(mutex_);
  std::optional<PeerView> best;
  for (const auto& [peer, view] : views_) {  // in order of incarnation
    if (peer.node != node || view.state == liveness::State::kFenced) continue;
    if (!best || best->phase == Phase::kStandby || view.phase != Phase::kStandby) best = view;
  }
  return best;
}

std::optional<PeerView> LivenessDriver::find(liveness::Peer peer) const {
  std::lock_guard lock(mutex_);
  const auto it = views_.find(peer);
  if (it == views_.end() || it->second.state == liveness::State::kFenced) return std::nullopt;
  return it->second;
}

}  // namespace outlast::meta
