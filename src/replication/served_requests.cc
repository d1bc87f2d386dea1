// ServedRange: what became of a request (protocol A5.6).
//
// No clock and no lease is needed for "not applied": a request of this epoch can only be assigned an LSN here, and is
// refused from now on; one of an earlier epoch would have to be in the log with which this leadership began, which
// every later leaseholder has too. A leadership that is over answers nothing: its log may be cut meanwhile.
#include "replication/served_range.h"

namespace outlast::replication {

void ServedRange::resolve(const RequestQuestion& question, Callback<RequestAnswer> done) {
  if (question.addressed > epoch_)
    return done(Error(Errc::kStaleEpoch, "the request was addressed to a newer epoch of the range"));
  RequestWindow::Told told = hooks_.requests->ask(question, epoch_, hooks_.now());
  if (!told.older_may_tell) return answer(std::move(told.answer), std::move(done));
  hooks_.reread([this, question, done = std::move(done)](Result<void> reread) mutable {
    if (!reread.ok()) return done(std::move(reread).error());
    answer(hooks_.requests->ask(question, epoch_, hooks_.now()).answer, std::move(done));
  });
}

void ServedRange::answer(RequestAnswer found, Callback<RequestAnswer> done) {
  std::optional<Error> over;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) over = Error(Errc::kNotLeaseholder, ended_->message);
  }
  if (over) return done(*std::move(over));
  if (found.kind == RequestAnswer::Kind::kAbsent) return done(std::move(found));
  const Lsn lsn = found.lsn;
  wait_durable(lsn, Waits::kWrite, [found = std::move(found), done = std::move(done)](Result<void> durable) mutable {
    if (!durable.ok()) return done(std::move(durable).error());
    done(std::move(found));
  });
}

}  // namespace outlast::replication
