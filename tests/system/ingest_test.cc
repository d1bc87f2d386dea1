// Records come in from outside SQL, through restarts of the node that takes them (protocol A8.6), on real processes.
#include <algorithm>

#include "support/ingest_nodes.h"
#include "support/record_sender.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
using testing_support::RecordSender;

class IngestTest : public testing_support::IngestNodes {
 protected:
  void start() {
    start_with(input("syslog", "udp", "udp://127.0.0.1") + input("tcp", "tcp", "tcp://127.0.0.1") + table_sink());
  }
};

TEST_F(IngestTest, ARestartLosesNoRecordDoublesNoneAndResetsNoSender) {
  ASSERT_NO_FATAL_FAILURE(start());
  RecordSender datagrams(port("udp"), RecordSender::Over::kUdp), stream(port("tcp"), RecordSender::Over::kTcp);
  for (int i = 0; i < 4; ++i) expect_completed(restart());
  const long udp = datagrams.stop(), tcp = stream.stop();
  EXPECT_FALSE(stream.broken());
  expect_stored("udp", udp);
  expect_stored("tcp", tcp);
}

TEST_F(IngestTest, AKilledWorkerLeavesTheSocketsAndStoresNothingTwice) {
  ASSERT_NO_FATAL_FAILURE(start());
  RecordSender datagrams(port("udp"), RecordSender::Over::kUdp);
  const auto killed = cluster().kill_worker(0);
  ASSERT_TRUE(killed.ok());
  ASSERT_NO_FATAL_FAILURE(wait_ready(0, *killed));
  const long sent = datagrams.stop();
  EXPECT_FALSE(datagrams.broken()) << "the socket lives in the supervisor";
  std::vector<long> there;
  const auto waited = cluster().wait_until("the last record", 30s, [&] {
    there = stored("udp")["n"];
    return std::ranges::find(there, sent - 1) != there.end();
  });
  EXPECT_TRUE(waited.ok());
  std::ranges::sort(there);
  EXPECT_TRUE(std::ranges::adjacent_find(there) == there.end()) << "nothing twice";
}

}  // namespace
}  // namespace outlast
