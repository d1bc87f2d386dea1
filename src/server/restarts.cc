#include "server/restarts.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

namespace outlast::server {
namespace json = boost::json;

namespace {
constexpr std::size_t kReceiptsKept = 20;

Error no_supervisor() {
  return {Errc::kUnavailable, "nobody supervises this process now: start the node's supervisor again"};
}

Error gone() {
  return {Errc::kShuttingDown, "this process cannot tell any more how that ended: ask the node again"};
}
}  // namespace

void Restarts::note(std::string status) {
  std::vector<Callback<std::string>> accepted, finished;
  std::string receipt;
  std::uint64_t id = 0;
  bool fresh = false;
  {
    const std::lock_guard lock(mutex_);
    boost::system::error_code error;
    const json::value parsed = json::parse(status, error);
    const json::object* const fields = error ? nullptr : parsed.if_object();
    if (fields == nullptr) return;
    if (const auto* one = fields->if_contains("receipt"); one != nullptr && one->is_object()) {
      receipt = json::serialize(*one);
      if (const auto* number = one->get_object().if_contains("id"); number != nullptr)
        id = number->to_number<std::uint64_t>(error);
    }
    status_ = std::move(status);
    fresh = knows_receipts_ && id > last_receipt_;
    knows_receipts_ = true;
    last_receipt_ = std::max(last_receipt_, id);
    if (id > 0) receipts_[id] = receipt;
    while (receipts_.size() > kReceiptsKept) receipts_.erase(receipts_.begin());
    accepted.swap(accepting_);
    const auto end = finishing_.upper_bound(id);
    for (auto it = finishing_.begin(); it != end; ++it) finished.push_back(std::move(it->second));
    finishing_.erase(finishing_.begin(), end);
    answered_ = answered_ || !finished.empty();
  }
  for (auto& done : accepted) done(this->status());
  for (auto& done : finished) done(receipt);
  if (fresh && on_receipt) on_receipt(receipt);
}

std::string Restarts::status() const {
  const std::lock_guard lock(mutex_);
  return status_;
}

void Restarts::when_accepted(Callback<std::string> done) {
  const std::lock_guard lock(mutex_);
  accepting_.push_back(std::move(done));
}

void Restarts::when_finished(std::uint64_t id, Callback<std::string> done) {
  std::string receipt;
  {
    const std::lock_guard lock(mutex_);
    const auto it = receipts_.find(id);
    if (it == receipts_.end() && id > last_receipt_) {
      finishing_.emplace(id, std::move(done));
      return;
    }
    if (it != receipts_.end()) receipt = it->second;
  }
  if (receipt.empty())
    return done(Error(Errc::kNotFound, "the receipt of restart " + std::to_string(id) +
                                           " is not kept any more: STORE/RESTARTS.json has the last ones"));
  done(std::move(receipt));
}

void Restarts::when_reloaded(Callback<std::string> done) {
  const std::lock_guard lock(mutex_);
  reloading_.push_back(std::move(done));
}

void Restarts::reloaded(std::string answer) {
  std::vector<Callback<std::string>> waiting;
  {
    const std::lock_guard lock(mutex_);
    waiting.swap(reloading_);
  }
  for (auto& done : waiting) done(answer);
}

void Restarts::abandon() {
  std::vector<Callback<std::string>> waiting;
  {
    const std::lock_guard lock(mutex_);
    waiting.swap(accepting_);
    for (auto& done : std::exchange(reloading_, {})) waiting.push_back(std::move(done));
    for (auto& [id, done] : std::exchange(finishing_, {})) waiting.push_back(std::move(done));
    answered_ = answered_ || !waiting.empty();
  }
  for (auto& done : waiting) done(gone());
}

bool Restarts::answered() const {
  const std::lock_guard lock(mutex_);
  return answered_;
}

RestartPorts restart_ports(Restarts& restarts, SupervisorLink& link) {
  using Kind = handover::ControlMessage::Kind;
  const auto tell = [&link](Kind kind, std::string text) {
    link.tell({.kind = kind, .node = {}, .incarnation = {}, .text = std::move(text)});
  };
  RestartPorts ports;
  ports.restart = [&, tell](std::string text, Callback<std::string> done) {
    if (!link.connected()) return done(no_supervisor());
    restarts.when_accepted(std::move(done));
    tell(Kind::kRestart, std::move(text));
  };
  ports.status = [&restarts] { return restarts.status(); };
  ports.when_finished = [&restarts](std::uint64_t id, Callback<std::string> done) {
    restarts.when_finished(id, std::move(done));
  };
  ports.reload = [&, tell](Callback<std::string> done) {
    if (!link.connected()) return done(no_supervisor());
    restarts.when_reloaded(std::move(done));
    tell(Kind::kReload, "");
  };
  return ports;
}

}  // namespace outlast::server
