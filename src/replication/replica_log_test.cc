// What log work keeps alive, and how long.
#include "replication/replica_log.h"

#include <gtest/gtest.h>

#include "replication/testing/fixture.h"
#include "tests/support/sim_loop.h"

namespace outlast::replication::testing {
namespace {

/// Does everything at once, and throws nothing away.
struct SlowToForget final : storage::LogWriter {
  void submit(storage::Replica&, std::vector<storage::LogEntryPtr>, Callback<Lsn>) override {}
  void run(storage::Replica&, Task task) override {
    task();
    done.push_back(std::move(task));
  }
  std::vector<Task> done;
};

TEST(ReplicaLog, WhoHearsThatWorkIsDoneMayRemoveTheReplica) {
  testing_support::SimLoop loop;
  const auto disk = std::make_shared<FakeDisk>();
  disk->ranges[kRange];
  auto replica = std::make_shared<FakeReplica>(disk, kRange);
  SlowToForget port;
  const Parameters parameters;
  std::optional<ReplicaLog> log(std::in_place, loop, port, replica,
                                std::make_shared<RequestMemory>(sim_request_of, parameters.resolve_window,
                                                                parameters.resolve_bytes, PlantedBugs()));
  const std::weak_ptr<FakeReplica> seen = replica;
  replica.reset();
  bool gone = false;
  log->run<void>([](storage::Replica&) { return Result<void>(); },
                 [&](Result<void>) {
                   log.reset();
                   gone = seen.expired();
                 });
  loop.run_ready();
  EXPECT_TRUE(gone);
}

}  // namespace
}  // namespace outlast::replication::testing
