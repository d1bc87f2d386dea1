// Rolling restarts of small random clusters, with everything that may go wrong: crashes, operators, leaders that
// change, writes that lose their race, command lines that die. Held against what must never be.
#include <gtest/gtest.h>

#include <iostream>
#include <set>

#include "base/loop.h"
#include "placement/testing/views.h"
#include "tasks/rolling_choice.h"

namespace outlast::tasks {
namespace {
using namespace std::chrono_literals;
using lifecycle::ask_to_abort;
using lifecycle::claim_command;
using lifecycle::decode_rolling_record;
using lifecycle::report_command;
using lifecycle::RollingMachine;
using lifecycle::RollingOrder;
using lifecycle::RollingRecord;
using lifecycle::RollingStep;
using placement::ClusterView;
using placement::NodeView;
using End = RollingMachine::Todo::End;

struct Process {
  Incarnation incarnation{1};
  int away{0};      ///< Seconds until it is back.
  int catch_up{0};  ///< Seconds until its replicas are in sync again.
  bool draining{false};
  int replaced{0};
  int crashes{0};
  std::uint64_t restarts{0};
};

class World {
 public:
  World(std::uint64_t seed, RollingMachine::PlantedBugs bugs) : random_(seed), bugs_(bugs) {
    const auto count = static_cast<std::uint32_t>(3 + random_.below(6));
    const bool zones = random_.below(3) == 0;
    for (std::uint32_t id = 1; id <= count; ++id) {
      view_.nodes.push_back(placement::testing::node_at(id, zones ? (id % 3 == 0   ? "zone=a"
                                                                     : id % 3 == 1 ? "zone=b"
                                                                                   : "zone=c")
                                                                  : ""));
      record_.nodes.push_back({.node = NodeId(id)});
    }
    for (std::uint64_t i = 1; i <= 2 * count; ++i) {
      const auto at = static_cast<std::uint32_t>(random_.below(count));
      const auto node = [&](std::uint32_t step) { return 1 + (at + step) % count; };
      view_.ranges.push_back(placement::testing::range_on(i, {node(0), node(1), node(2)}));
    }
    wanted_ = view_;
    processes_.resize(count);
    if (random_.below(2) == 0) record_.options.command = "restart";
    record_.options.batch = static_cast<std::uint32_t>(random_.below(4));
    record_.options.window = 2s;
    record_.options.windows = 1;
    machine_.emplace(record_, bugs_);
  }

  /// The first thing that must never be; empty: none was seen, and it ended.
  std::string run() {
    for (int second = 0; second < 4'000 && broken_.empty() && !over_; ++second) {
      quiet_ = second > 1'500;  // what is broken is mended then, and nobody interferes
      disturb();
      move_processes();
      act();
      if (!record_.options.command.empty()) drive_command_lines();
    }
    if (broken_.empty() && !over_) broken_ = "it did not end: " + machine_->waiting();
    if (broken_.empty() && !record_.aborted) check_end();
    return broken_;
  }

 private:
  Process& process(NodeId id) { return processes_.at(id.value - 1); }
  void say(const std::string& what) {
    if (broken_.empty()) broken_ = what;
  }

  void disturb() {
    if (quiet_) {
      paused_ = false;
      return;
    }
    const auto some = [&](std::uint64_t n) { return random_.below(n) == 0; };
    if (some(60))
      machine_.emplace(record_, bugs_),
          leader_ = NodeId(1 + static_cast<std::uint32_t>(random_.below(processes_.size())));
    if (some(90)) paused_ = !paused_;
    if (some(600)) record_ = *decode_rolling_record(*ask_to_abort(encode(record_))), machine_->replace(record_);
    if (some(120)) {
      const NodeId victim(1 + static_cast<std::uint32_t>(random_.below(processes_.size())));
      if (process(victim).away == 0) {
        stop(victim);
        ++process(victim).crashes;
        crashed_at_ = now_;
      }
    }
  }

  /// The process ends; another one of the node follows some time later.
  void stop(NodeId id) {
    Process& it = process(id);
    it.away = 1 + static_cast<int>(random_.below(5));
    it.catch_up = 1 + static_cast<int>(random_.below(6));
    it.draining = false;
    for (std::size_t i = 0; i < view_.ranges.size(); ++i) {
      auto& range = view_.ranges[i];
      if (range.find_insync(id) == nullptr || static_cast<int>(range.insync.size()) <= range.min_insync) continue;
      std::erase_if(range.insync, [&](const auto& each) { return each.node == id; });
      range.learners.push_back(*wanted_.ranges[i].find_insync(id));
    }
  }

  void move_processes() {
    for (std::uint32_t id = 1; id <= processes_.size(); ++id) {
      Process& it = process(NodeId(id));
      if (it.away > 0) {
        if (--it.away == 0) it.incarnation = it.incarnation.next(), ++it.replaced;
      } else if (it.catch_up > 0 && --it.catch_up == 0) {
        for (auto& range : view_.ranges)
          if (const auto* learner = range.find_learner(NodeId(id)); learner != nullptr) {
            range.insync.push_back(*learner);
            std::erase_if(range.learners, [&](const auto& each) { return each.node == NodeId(id); });
          }
      }
      NodeView& seen = view_.nodes[id - 1];
      seen.health = it.away > 0 ? NodeView::Health::kSuspect : NodeView::Health::kLive;
      seen.draining = it.draining;
    }
  }

  /// Somebody is about to end this process on the task's behalf. A crash an instant ago is nobody's fault: a command
  /// line begins a little later than it was allowed to.
  void about_to_stop(NodeId id) {
    if (!record_.options.command.empty() && now_ - crashed_at_ <= 2s) return;
    for (const auto& range : view_.ranges) {
      if (range.find_insync(id) == nullptr) continue;
      int left = 0;
      for (const auto& member : range.insync) left += member.node != id && process(member.node).away == 0 ? 1 : 0;
      if (left < range.min_insync)
        say("node " + id.to_string() + " stops, and range " + range.range.to_string() + " has too few left");
    }
    for (const auto& other : record_.nodes)
      if (other.node != id && other.step == RollingStep::kDone && process(other.node).catch_up > 0 &&
          process(other.node).crashes == 0)
        say("node " + other.node.to_string() + " was called done before it had caught up");
  }

  lifecycle::RollingView look() {
    lifecycle::RollingView out;
    out.paused = paused_;
    for (std::uint32_t id = 1; id <= processes_.size(); ++id) {
      const Process& it = process(NodeId(id));
      lifecycle::RollingNode node{.node = NodeId(id),
                                  .live = it.away == 0,
                                  .incarnation = it.incarnation,
                                  .leader = NodeId(id) == leader_,
                                  .draining = it.draining,
                                  .drained = it.draining};
      for (const auto& range : view_.ranges) {
        node.insync += range.find_insync(NodeId(id)) != nullptr ? 1 : 0;
        node.learners += range.find_learner(NodeId(id)) != nullptr ? 1 : 0;
      }
      out.live_nodes += node.live ? 1 : 0;
      out.nodes.push_back(std::move(node));
    }
    out.choose = [this](std::vector<NodeId> candidates, std::vector<NodeId> absent, std::size_t max) {
      return choose_to_restart(view_, std::move(candidates), std::move(absent), max);
    };
    return out;
  }

  void act() {
    now_ += 1s;
    RollingMachine::Todo todo = machine_->advance(now_, look());
    const bool lost = random_.below(20) == 0;  // somebody else wrote first
    if (todo.write && !lost) {
      record_ = *decode_rolling_record(encode(*todo.write));
      machine_->replace(record_);
    }
    if (todo.end == End::kPause && !lost) paused_ = true;
    if ((todo.end == End::kCompleted || todo.end == End::kAborted) && !lost) over_ = true;
    for (const RollingOrder& order : todo.orders) carry_out(order);
  }

  void carry_out(const RollingOrder& order) {
    Process& it = process(order.node);
    if (random_.below(10) == 0) return machine_->answered(order, Error(Errc::kUnavailable, "lost on its way"), now_);
    if (it.away > 0 || it.incarnation != order.incarnation)
      return machine_->answered(order, Error(Errc::kFenced, "another process"), now_);
    if (order.kind == RollingOrder::Kind::kDrain) it.draining = true;
    if (order.kind == RollingOrder::Kind::kUndrain) it.draining = false;
    if (order.kind == RollingOrder::Kind::kRestart) {
      about_to_stop(order.node);
      stop(order.node);
      move_processes();
      ++it.restarts;
    }
    machine_->answered(order, it.restarts, now_);
  }

  /// Two command lines that die now and then, with what they run.
  void drive_command_lines() {
    for (std::string& token : lines_) {
      if (random_.below(80) == 0) {
        std::erase_if(running_, [&](const auto& one) { return one.first == token; });
        token += "'";  // another one is attached in its place
      }
      for (const auto& node : RollingRecord(record_).nodes) {
        if (node.step != RollingStep::kCommand && node.step != RollingStep::kRunning) continue;
        if (node.step == RollingStep::kCommand) running_.erase({token, node.node});
        const bool mine = node.claim && node.claim->token == token;
        if (node.step == RollingStep::kRunning && mine) run_command(token, node.node);
        if (node.step == RollingStep::kCommand || running_.contains({token, node.node}))
          write(claim_command(record_, node.node, token, ++beat_));
      }
    }
  }
  void run_command(const std::string& token, NodeId id) {
    if (!running_.contains({token, id})) {
      for (const auto& [other, node] : running_)
        if (node == id && other != token) say("two command lines run the command for node " + id.to_string());
      running_.insert({token, id});
      if (process(id).away > 0) return;
      about_to_stop(id);
      stop(id);
      return move_processes();
    }
    if (random_.below(3) != 0) return;
    running_.erase({token, id});
    write(report_command(record_, id, token, random_.below(10) == 0 ? 1 : 0, ""));
  }
  void write(Result<RollingRecord> next) {
    if (next.ok()) machine_->replace(record_ = *std::move(next));
  }

  void check_end() {
    for (const auto& node : record_.nodes) {
      if (node.step != RollingStep::kDone) say("node " + node.node.to_string() + " was left behind");
      if (process(node.node).replaced == 0) say("node " + node.node.to_string() + " has its old process");
    }
  }

  SeededRandom random_;
  const RollingMachine::PlantedBugs bugs_;
  ClusterView view_, wanted_;
  std::vector<Process> processes_;
  RollingRecord record_;
  std::optional<RollingMachine> machine_;
  Instant now_{1h};
  NodeId leader_{1};
  std::set<std::pair<std::string, NodeId>> running_;
  std::vector<std::string> lines_{"a", "b"};
  std::uint64_t beat_{0};
  Instant crashed_at_{};
  bool paused_{false}, over_{false}, quiet_{false};
  std::string broken_;
};

int broken_of(int histories, RollingMachine::PlantedBugs bugs) {
  int broken = 0;
  for (int seed = 1; seed <= histories; ++seed)
    broken += World(static_cast<std::uint64_t>(seed), bugs).run().empty() ? 0 : 1;
  return broken;
}

TEST(RollingHistoriesTest, NothingIsBrokenAndEachEnds) {
  for (std::uint64_t seed = 1; seed <= 1'000; ++seed) ASSERT_EQ(World(seed, {}).run(), "") << "seed " << seed;
}

TEST(RollingHistoriesTest, PlantedBugsAreFound) {
  EXPECT_GT(broken_of(300, {.unsafe_restart = true}), 0);
  EXPECT_GT(broken_of(300, {.no_catch_up = true}), 0);
}

}  // namespace
}  // namespace outlast::tasks
