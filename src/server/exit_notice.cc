#include "server/exit_notice.h"

#include <utility>

namespace outlast::server {
namespace {
constexpr Duration kAskAgain = std::chrono::milliseconds(100);
}  // namespace

ExitNotice::~ExitNotice() {
  if (again_ != 0) loop_.cancel(again_);
}

void ExitNotice::give(bool ends) {
  if (std::exchange(given_, ends) == ends) return;
  ports_.set_phase(ends);
  by_.reset();
  why_not_.clear();
  if (again_ != 0) loop_.cancel(std::exchange(again_, 0));
  if (ends) ask();
}

void ExitNotice::ask() {
  if (asking_) return;  // its answer is awaited, and what it says decides
  asking_ = true;
  ports_.ask_leader([this, alive = std::weak_ptr(alive_)](Result<NodeId> answer) {
    if (!alive.expired()) answered(std::move(answer));
  });
}

void ExitNotice::answered(Result<NodeId> answer) {
  asking_ = false;
  if (!given_) return;
  if (answer.ok()) {
    by_ = *answer;
    at_ = loop_.now();
    why_not_.clear();
    return ports_.acknowledged();
  }
  why_not_ = std::move(answer).error().message;
  again_ = loop_.after(kAskAgain, [this] {
    again_ = 0;
    ask();
  });
}

}  // namespace outlast::server
