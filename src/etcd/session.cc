#include "etcd/session.h"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace outlast::etcd {
namespace {
using namespace std::chrono_literals;
constexpr Duration kAttempt = 10s;  ///< The longest that one try of a read waits.
}  // namespace

Session::Session(const Options& options, const Secrets& secrets, const Codec& codec, Calls& calls, Events events)
    : secrets_(secrets),
      user_(options.user),
      probe_(codec.probe()),
      calls_(calls),
      events_(std::move(events)),
      needs_login_(!options.user.empty()) {
  const auto credentials = make_credentials(secrets_);
  for (const std::string& endpoint : options.endpoints)
    members_.push_back(std::make_unique<Member>(endpoint, credentials, calls_));
  health_.problem = "no member of etcd has answered yet";
  publish();
}

/// Requests and their calls hold each other while under way.
Session::~Session() {
  for (const RequestPtr& request : under_way_)
    if (request->call) request->call->TryCancel();
  for (const auto& member : members_)
    if (member->probe) member->probe->TryCancel();
  if (status_call_) status_call_->TryCancel();
  calls_.under_way.wait_for_none();
  for (const RequestPtr& request : under_way_) request->call.reset();
}

void Session::submit(RequestPtr request) {
  if (current_ != nullptr && !current_->is_connected()) distrust(*current_, "its connection broke");
  if (current_ != nullptr)
    send(request);
  else
    wait_or_expire(request);
}

void Session::send(const RequestPtr& request) {
  const Time at = now();
  if (at >= request->deadline) return wait_or_expire(request);
  request->at = current_;
  request->sent = at;
  request->floor = newest_;
  under_way_.push_back(request);
  const Duration timeout = std::min<Duration>(request->deadline - at, kAttempt);
  if (const auto* txn = std::get_if<pb::TxnRequest>(&request->body)) {
    request->call = current_->txn(*txn, timeout, [this, request](const grpc::Status& status, const auto& reply) {
      on_reply(request, status, reply);
    });
    return;
  }
  request->call = current_->compact(std::get<pb::CompactionRequest>(request->body), timeout,
                                    [this, request](const grpc::Status& status, const auto& reply) {
                                      pb::TxnResponse answer;
                                      *answer.mutable_header() = reply.header();
                                      on_reply(request, status, answer);
                                    });
}

void Session::on_reply(const RequestPtr& request, const grpc::Status& status, const pb::TxnResponse& reply) {
  std::erase(under_way_, request);
  request->call.reset();
  if (!status.ok()) return on_failure(request, status);
  request->at->answered = now();
  learn(reply.header(), request->floor);
  if (!request->is_read_only && changed(reply)) {
    written_ = std::max(written_, static_cast<std::uint64_t>(reply.header().revision()));
    written_at_ = now();
  }
  if (current_ == nullptr && request->at->is_connected()) adopt(*request->at);
  request->done(reply);
}

void Session::on_failure(const RequestPtr& request, const grpc::Status& status) {
  Judgement judged = judge(status);
  if (status.error_code() == grpc::StatusCode::CANCELLED)
    judged.error.message = "etcd at " + request->at->address() + " fell silent";
  // A single slow call does not speak against a member that answers others.
  const bool is_slow_only =
      status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED && request->at->answered > request->sent;
  if (judged.verdict == Verdict::kNewToken) {
    needs_login_ = !user_.empty();
    calls_.token.clear();
  }
  const bool is_down = judged.verdict == Verdict::kUnclear || judged.verdict == Verdict::kNotNow;
  if ((is_down && !is_slow_only) || judged.verdict == Verdict::kNewToken)
    distrust(*request->at, judged.error.message);
  else
    request->at->answered = is_slow_only ? request->at->answered : now();
  switch (judged.verdict) {
    case Verdict::kRefused:
      return request->done(std::move(judged.error));
    case Verdict::kNotNow:
    case Verdict::kNewToken:
      return submit(request);
    case Verdict::kNoSpace:
      ask_status();
      return request->done(std::move(judged.error));
    case Verdict::kUnclear:
      break;
  }
  if (request->is_read_only) return submit(request);
  judged.error.code = Errc::kMetaInDoubt;
  judged.error.message += "; the change may have been made: read it back";
  request->done(std::move(judged.error));
}

/// For what was certainly not applied.
void Session::wait_or_expire(const RequestPtr& request) {
  if (now() < request->deadline) return waiting_.push_back(request);
  request->done(unavailable());
}

void Session::expire_waiting() {
  const Time at = now();
  std::deque<RequestPtr> late;
  std::erase_if(waiting_, [&](const RequestPtr& request) {
    if (at < request->deadline) return false;
    late.push_back(request);
    return true;
  });
  for (const RequestPtr& request : late) request->done(unavailable());
}

Error Session::unavailable() const {
  return {Errc::kMetaUnavailable, "no member of etcd answered in time, nothing was changed: " + health_.problem};
}

/// Notices when the store has lost what it once confirmed: a copy from a backup, or another cluster at this address.
void Session::learn(const pb::ResponseHeader& header, std::uint64_t floor) {
  const auto revision = static_cast<std::uint64_t>(header.revision());
  const bool other = cluster_id_ != 0 && header.cluster_id() != cluster_id_;
  cluster_id_ = header.cluster_id();
  if (!other && revision >= floor) return saw(revision);
  spdlog::error(
      "metadata: etcd answers at revision {}, after {}{}; was it restored from a copy? Everything is read anew",
      revision, floor, other ? " of another etcd cluster" : "");
  newest_ = revision;
  written_ = 0;
  events_.regressed();
}

}  // namespace outlast::etcd
