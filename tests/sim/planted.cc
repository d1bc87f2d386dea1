#include "tests/sim/planted.h"

namespace outlast::sim {

const std::vector<PlantedBug>& planted_bugs() {
  static const std::vector<PlantedBug> all = {
      {"removal-before-confirmed", "commits stop needing a member when its removal is asked for", "meta",
       [](Planted& p) { p.replication.removal_before_confirmed = true; }, 1, 60},
      {"apply-whole-log", "a backup applies what is not known to be durable", "crash",
       [](Planted& p) { p.replication.apply_whole_log = true; }, 1, 20},
      {"cut-to-durable", "a follower cuts to what it knows to be durable, not to the last shared entry", "crash",
       [](Planted& p) { p.replication.cut_to_durable = true; }, 1, 60},
      {"promote-without-union", "a learner is promoted though commits did not need it", "meta",
       [](Planted& p) { p.replication.promote_without_union = true; }, 1, 60},
      {"ack-before-sync", "a backup acknowledges what its disk has not confirmed", "crash",
       [](Planted& p) { p.replication.ack_before_sync = true; }, 1, 20},
      {"serve-before-all-answered", "a new leaseholder serves before all of S' answered", "crash",
       [](Planted& p) { p.replication.serve_before_all_answered = true; }, 1, 60},
      {"lease-by-node", "a lease belongs to a node: its next process goes on with it", "restart-all",
       [](Planted& p) { p.replication.lease_by_node = true; }, 1, 60},
      {"doubt-is-failure", "a change of the record whose answer was lost counts as not done", "doubt",
       [](Planted& p) { p.replication.doubt_is_failure = true; }, 1, 60},
      {"wiped-keeps-id", "a wiped store makes an empty replica in the place of the one it should hold", "wipe",
       [](Planted& p) { p.replication.wiped_keeps_id = true; }, 1, 60},
      {"fall-back-same-epoch", "a fall-back begins anew in its old epoch", "no-room",
       [](Planted& p) { p.replication.fall_back_same_epoch = true; }, 1, 60},
      {"cut-own-tail", "a new leaseholder cuts its own log to what it knows to be durable", "crash",
       [](Planted& p) { p.replication.cut_own_tail = true; }, 1, 60},
      {"shrink-to-one", "members that do not answer leave S whatever min_insync says", "partition",
       [](Planted& p) { p.replication.shrink_to_one = true; }, 1, 60},
      {"read-unconfirmed", "past the lease deadline reads are answered all the same", "isolate",
       [](Planted& p) { p.replication.read_unconfirmed = true; }, 1, 60},
      {"confirm-once", "what the members said once counts for later reads", "fade",
       [](Planted& p) { p.replication.confirm_once = true; }, 1, 60},
      {"deadline-from-answer", "the lease is counted from the answer to a renewal, not from its sending", "late-answer",
       [](Planted& p) { p.deadline_from_answer = true; }, 1, 60},
      {"ungated-errors", "an error leaves before what it tells about is durable", "steady",
       [](Planted& p) { p.ungated_errors = true; }, 1, 20},
      {"request-not-poisoned", "\"not applied\" is answered and the request may still come", "in-doubt",
       [](Planted& p) { p.replication.request_not_poisoned = true; }, 1, 60},
      {"frames-as-written", "a commit's pages are taken from SQLite's writes in their order", "bulk",
       [](Planted& p) { p.frames_as_written = true; }, 1, 20},
      {"observer-timer-kept", "observers do not start anew when the metadata returns", "meta",
       [](Planted& p) { p.observer_timer_kept = true; }, 1, 60},
      {"early-completion", "a node is final while it holds the data of replicas that left", "membership",
       [](Planted& p) { p.membership.world.deletion_not_awaited = p.membership.task.mover.deletion_ignored = true; }, 1,
       60},
      {"final-with-buffers", "a node is final while it owns tasks or holds records in buffers", "membership",
       [](Planted& p) { p.membership.task.machine.final_without_buffers = true; }, 1, 60},
      {"learner-counts", "a replica leaves when its successor is only a learner", "membership",
       [](Planted& p) { p.membership.task.mover.learners_count = true; }, 1, 60},
      {"two-leaders", "a deposed leader frontend goes on with the task", "membership",
       [](Planted& p) { p.membership.world.office_not_compared = true; }, 1, 240},
      {"moves-not-counted", "what is under way to a disk takes no space there", "membership",
       [](Planted& p) { p.membership.task.mover.targets.moves_not_counted = true; }, 1, 240},
      {"draining-target", "replicas go to draining nodes", "membership",
       [](Planted& p) { p.membership.task.mover.targets.draining_accepted = true; }, 1, 240},
      {"silent-is-dead", "a node that is merely silent is finished in absentia", "membership",
       [](Planted& p) { p.membership.task.machine.silent_is_dead = true; }, 1, 240},
      {"wish-ignored", "a recommission is not followed once the node drains", "membership",
       [](Planted& p) { p.membership.task.machine.wish_ignored = true; }, 1, 60},
      {"wish-not-recorded", "a recommission is known to the leader frontend only", "membership",
       [](Planted& p) { p.membership.world.wish_not_recorded = true; }, 1, 200},
      {"retry-is-progress", "trying another way counts as progress: no stall is ever named", "membership",
       [](Planted& p) { p.membership.task.machine.retry_is_progress = true; }, 1, 60},
      {"reduced-freely", "the replication factor is reduced to what is there", "membership",
       [](Planted& p) { p.membership.task.mover.reduces_freely = true; }, 1, 60},
  };
  return all;
}

const PlantedBug* find_planted(std::string_view name) {
  for (const PlantedBug& bug : planted_bugs())
    if (bug.name == name) return &bug;
  return nullptr;
}

}  // namespace outlast::sim
