// Which member of etcd is used: probes, logins, switches, and what operators are told of it.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "etcd/session.h"

namespace outlast::etcd {
namespace {
using namespace std::chrono_literals;
constexpr Duration kProbeTimeout = 1s;
constexpr Duration kLoginTimeout = 5s;  ///< etcd hashes passwords slowly, on purpose.
constexpr Duration kSilence = 1s;  ///< Without any answer to a waiting call: others are asked, the first takes over.
constexpr Duration kLost = 2s;     ///< Without an answer from anybody: not connected.
constexpr Duration kIdle = 5s;     ///< Nothing was asked for so long: a probe tells whether it is still there.
constexpr Duration kPauseMin = 50ms, kPauseMax = 1s;  ///< Between probes of one member.
constexpr Duration kRefusedPause = 3s;                ///< The same after it refused us; told once in the log.
constexpr Duration kStatusEvery = 10s;
}  // namespace

void Session::tick() {
  const Time at = now();
  if (current_ != nullptr && !current_->is_connected()) distrust(*current_, "its connection broke");
  if (current_ != nullptr && is_silent(kLost)) {
    health_.problem = "no member of etcd answers";
    spdlog::warn("metadata: etcd at {} and all others are silent", current_->address());
    drop();  // calls under way may still be answered; nothing new is put at risk
  }
  probe_where_due();
  recall_stragglers();
  expire_waiting();
  if (current_ != nullptr && at - status_at_ > kStatusEvery) ask_status();
}

/// Did the current member answer nothing since one of its calls was sent, and for so long?
bool Session::is_silent(Duration longer_than) const {
  const Time before = now() - longer_than;
  return std::ranges::any_of(under_way_, [&](const RequestPtr& request) {
    return request->at == current_ && request->sent < before && current_->answered < request->sent;
  });
}

void Session::distrust(const Member& member, const std::string& why) {
  if (&member != current_) return;
  health_.problem = "etcd at " + member.address() + ": " + why;
  spdlog::warn("metadata: {}; looking for a member that answers", health_.problem);
  current_->probe_not_before = now() + kPauseMin;
  drop();
  probe_where_due();
}

void Session::drop() {
  current_ = nullptr;
  events_.switched();
  publish();
}

void Session::probe_where_due() {
  const Time at = now();
  const bool all = current_ == nullptr || is_silent(kSilence);
  for (const auto& member : members_) {
    if (member->probe || at < member->probe_not_before) continue;
    if (all || (member.get() == current_ && at - member->answered > kIdle)) probe(*member);
  }
}

void Session::probe(Member& member) {
  member.connect();
  if (needs_login_ && calls_.token.empty()) return log_in(member);
  member.probe =
      member.txn(probe_, kProbeTimeout,
                 [this, &member, sent = now(), floor = newest_](const grpc::Status& status, const auto& reply) {
                   member.probe.reset();
                   if (!status.ok()) return on_probe_failed(member, status);
                   learn(reply.header(), floor);
                   on_probe(member, sent);
                 });
}

void Session::log_in(Member& member) {
  pb::AuthenticateRequest request;
  request.set_name(user_);
  request.set_password(secrets_.password);
  member.probe = member.authenticate(
      std::move(request), kLoginTimeout, [this, &member](const grpc::Status& status, const auto& reply) {
        member.probe.reset();
        // An etcd without users serves everybody; it asks for a login when that changes.
        const bool has_no_users = status.error_message().find("authentication is not enabled") != std::string::npos;
        if (!status.ok() && !has_no_users) return on_probe_failed(member, status);
        calls_.token = reply.token();
        needs_login_ = !has_no_users;
        probe(member);
      });
}

void Session::on_probe(Member& member, Time sent) {
  member.answered = now();
  member.pause = kPauseMin;
  if (current_ == nullptr) return adopt(member);
  if (current_ == &member || !is_silent(kSilence) || current_->answered >= sent) return;
  spdlog::warn("metadata: etcd at {} is silent, {} answers", current_->address(), member.address());
  adopt(member);
}

/// Calls that still wait for a member that is not used any more: reads are asked again at the new one, writes had their
/// time and are in doubt.
void Session::recall_stragglers() {
  if (current_ == nullptr) return;
  const Time before = now() - kSilence;
  for (const RequestPtr& request : under_way_)
    if (request->at != current_ && (request->is_read_only || request->sent < before)) request->call->TryCancel();
}

void Session::on_probe_failed(Member& member, const grpc::Status& status) {
  const Judgement judged = judge(status);
  const bool was_refused = member.pause == kRefusedPause;
  member.pause = std::clamp(2 * member.pause, kPauseMin, kPauseMax);
  if (judged.verdict == Verdict::kNewToken) {
    needs_login_ = !user_.empty();
    calls_.token.clear();
  }
  health_.problem = "etcd at " + member.address() + ": " + judged.error.message;
  const bool for_good = judged.verdict == Verdict::kRefused || (judged.verdict == Verdict::kNewToken && user_.empty());
  if (for_good) {
    if (!was_refused) spdlog::error("metadata: {}", health_.problem);
    member.pause = kRefusedPause;
    events_.tried(Error(Errc::kInvalidAuthorization, health_.problem));
  }
  member.probe_not_before = now() + member.pause;
  if (&member == current_) distrust(member, judged.error.message);
  publish();
}

void Session::adopt(Member& member) {
  current_ = &member;
  if (!health_.problem.empty() && status_at_ != Time()) spdlog::info("metadata: etcd at {} answers", member.address());
  health_.problem.clear();
  events_.switched();
  publish();
  ask_status();
  events_.tried({});
  recall_stragglers();
  for (const RequestPtr& request : std::exchange(waiting_, {})) submit(request);
}

void Session::ask_status() {
  if (current_ == nullptr || status_call_) return;
  status_at_ = now();
  status_call_ = current_->status(kProbeTimeout, [this](const grpc::Status& status, const auto& reply) {
    status_call_.reset();
    if (status.ok()) on_status(reply);
  });
}

void Session::on_status(const pb::StatusResponse& status) {
  std::vector<std::string> alarms;
  for (const char* alarm : {"NOSPACE", "CORRUPT"})
    if (std::ranges::any_of(status.errors(), [&](const auto& text) { return text.find(alarm) != std::string::npos; }))
      alarms.emplace_back(alarm);
  for (const std::string& alarm : alarms)
    if (std::ranges::find(health_.alarms, alarm) == health_.alarms.end())
      spdlog::error(
          "metadata: etcd raised the alarm {} and accepts no change until an operator clears it; data goes on, "
          "but no failover, no new database and no setting changes (docs/metadata.md)",
          alarm);
  if (alarms.empty() && !health_.alarms.empty()) spdlog::info("metadata: etcd's alarms are cleared");
  health_.alarms = std::move(alarms);
  health_.db_bytes = status.db_size();
  health_.db_bytes_in_use = status.db_size_in_use();
  publish();
}

void Session::publish() {
  health_.member = current_ == nullptr ? "" : current_->address();
  events_.health(health_);
}

}  // namespace outlast::etcd
