#pragma once
#include <memory>

#include "tasks/decommission_task.h"
#include "tests/sim/membership_world.h"

namespace outlast::sim {

struct MembershipBugs {
  MembershipWorldBugs world;
  tasks::DecommissionTask::PlantedBugs task;
};

struct MembershipOutcome {
  std::string violation;  ///< Empty: everything held.
  std::uint64_t hash{0}, steps{0}, orders{0}, leaders{0}, decommissioned{0}, recommissioned{0}, stalls{0}, fixes{0};
  double settled_ms{0};  ///< From the end of all faults to the end of the task.
};

/// One history of nodes that leave: a cluster of a size that the seed draws, up to 1,000 nodes and 50,000 ranges; one
/// task, run by leader frontends that change at any step and look at views that are late; two operators who change
/// their minds; crashes, cuts, slow and full disks. Then everything heals, and the task must end, or name what stops
/// it, and end after the fix that the pre-flight proposes.
class MembershipHistory {
 public:
  MembershipHistory(std::uint64_t seed, const MembershipBugs& bugs, bool trace);
  MembershipOutcome run();

 private:
  using Step = placement::Step;
  struct Leader {
    std::uint64_t office{0};
    std::unique_ptr<tasks::DecommissionTask> task;
    std::shared_ptr<const placement::ClusterView> view;
    std::vector<lifecycle::LeavingNode> facts;
    std::string record_text;   ///< As last read.
    int view_age{0}, deaf{0};  ///< Ticks of its view; ticks in which it reaches no metadata.
    int deposed{-1};           ///< Ticks until it notices that it is.
    std::string seen;          ///< What its view says of the task's progress,
    int seen_ticks{0};         ///< and for how long.
    std::vector<Step> adds;    ///< Asked for and not answered.
  };
  struct Pending {
    int due{0};
    std::function<void()> happens;
  };

  void draw_sizes();
  void begin_task();
  void tick(bool trouble);
  void strike();
  void strike_node();
  void change_leader();
  void operators();
  void lead(Leader& leader);
  void look(Leader& leader);
  void send(Leader& leader, const lifecycle::DecommissionOrder& order);
  void send(Leader& leader, const Step& step);
  void repair(Leader& leader);
  void check_step(const Leader& leader, const Step& step);
  void check_progress(Leader& leader);
  std::string progress_seen(const Leader& leader) const;
  bool settle();
  void end();
  void check_end();
  bool fix();
  void later(int ticks, std::function<void()> happens) { pending_.push_back({now_ticks_ + ticks, std::move(happens)}); }
  void fail(const std::string& what) {
    if (world_->violation.empty()) world_->violation = what;
  }
  Instant now() const { return Instant{std::chrono::hours(1)} + now_ticks_ * MembershipWorld::kTick; }
  void note(std::uint64_t what) { outcome_.hash = (outcome_.hash ^ what) * 0x100000001b3ULL; }

  SeededRandom random_;
  const MembershipBugs bugs_;
  const bool trace_;
  std::uint32_t nodes_{0}, ranges_{0};
  int trouble_ticks_{0};
  bool large_{false};
  std::unique_ptr<MembershipWorld> world_;
  tasks::DecommissionTask::Settings settings_;
  std::vector<std::unique_ptr<Leader>> leaders_;  ///< The last is in office.
  std::vector<Pending> pending_;
  int now_ticks_{0};
  MembershipOutcome outcome_;
};

}  // namespace outlast::sim
