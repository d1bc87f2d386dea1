// Leader: reads that other members of S confirm, when the lease deadline passed or nobody trusts it (protocol A4.6 b).
#include <algorithm>

#include "replication/leader.h"

namespace outlast::replication {

/// Starts the next round unless one is under way; its end comes back here.
void Leader::on_reads() {
  if (stopped_ || !opened_ || reads_.running()) return;
  ReadRounds::Reads waiting = served_->take_reads();
  if (waiting.empty()) return;
  reads_.begin(std::move(waiting), served_->assigned(), node().loop.now());
  const bool alone = std::none_of(members_.begin(), members_.end(), [](const auto& m) { return m.second.voter; });
  if (alone) {
    // Nobody else can tell whether this leadership is over: only the deadline can (A4.6 a).
    if (node().loop.now() < node().lease_deadline()) return end_reads({});
    return end_reads(Error(Errc::kNoLeaseholder,
                           "the only in-sync replica has lost touch with the cluster's metadata; reads go on when it "
                           "is back"));
  }
  if (node().bugs.read_unconfirmed || (node().bugs.confirm_once && confirmed_once_)) return end_reads({});
  ask_members();
  arm_timer();
  advance();
}

void Leader::ask_members() {
  for (const auto& [id, member] : members_)
    if ((member.voter || promoting_ == id) && !reads_.answered(id)) ask_member(member);
}

void Leader::ask_member(const Member& member) {
  if (!reads_.running() || member.state != Member::State::kStreaming) return;
  proto::RangeMessage out = message();
  out.mutable_confirm_epoch()->set_round(reads_.number());
  held_->send(member.ref.node, member.ref.replica, std::move(out));
}

void Leader::check_reads() {
  if (!reads_.running() || !reads_.confirmed(members_, promoting_, held_->durable)) return;
  confirmed_once_ = true;
  end_reads({});
}

/// Asks again whoever has not answered (a member may have been busy taking over, and changed its mind); gives up
/// after a while, so that clients hear why they wait.
void Leader::on_reads_timer() {
  if (!reads_.running()) return;
  if (node().loop.now() - reads_.since() < node().parameters.stuck) return ask_members();
  end_reads(Error(Errc::kRangeUnavailable,
                  "the other in-sync replicas did not confirm in time that this node still leads the database; try "
                  "again when they answer"));
}

void Leader::end_reads(const Result<void>& outcome) {
  for (auto& done : reads_.take()) done(outcome);
  node().loop.post(weakly([](Leader& me) { me.on_reads(); }));  // who came meanwhile
}

}  // namespace outlast::replication
