// While a member's program reads only older log entries, nobody writes newer ones (docs/storage.md, "Versions").
#include <filesystem>
#include <fstream>
#include <iterator>

#include "meta/cas.h"
#include "meta/identity.h"
#include "meta/keys.h"
#include "server/asio_loop.h"
#include "server/blocking.h"
#include "server/meta_url.h"
#include "support/cluster.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;

class MixedVersionsTest : public testing_support::ClusterTest {
 protected:
  /// What the record of a member says that its program reads.
  void set_log_format(NodeId node, std::uint32_t format) {
    server::AsioLoop loop;
    auto store = server::open_meta(cluster().meta(), loop);
    ASSERT_TRUE(store.ok()) << store.error().message;
    const std::string key = meta::keys::node(node);
    meta::Planner plan = [&](const meta::Snapshot& seen) -> Result<meta::Plan> {
      ASSIGN_OR_RETURN(meta::NodeRecord record, meta::decode_node_record(seen.at(key).value));
      record.log_format = format;
      meta::Plan next;
      next.ops.push_back(meta::Op::put(key, meta::encode(record)));
      return next;
    };
    const auto written = server::wait_on<Revision>(
        loop, [&](Callback<Revision> done) { meta::update(**store, {key}, std::move(plan), std::move(done)); });
    EXPECT_TRUE(written.ok()) << written.error().message;
    loop.stop();
    store->reset();
  }
  /// Writes a row; is what RETURNING gave in the leaseholder's log?
  bool keeps_results(const std::string& key) {
    EXPECT_EQ(value(0, "app", "INSERT INTO t VALUES ('" + key + "') RETURNING 'told-' || k"), "told-" + key);
    const int holder = leaseholder_of("app");
    if (holder < 0) return false;
    for (const auto& file : std::filesystem::recursive_directory_iterator(cluster().store(holder) + "/ranges")) {
      if (!file.path().filename().string().starts_with("log.")) continue;
      std::ifstream in(file.path(), std::ios::binary);
      const std::string bytes((std::istreambuf_iterator<char>(in)), {});
      if (bytes.find("told-" + key) != std::string::npos) return true;
    }
    return false;
  }
  /// The record reaches the nodes by their watches.
  bool becomes(bool kept, const std::string& round) {
    int i = 0;
    return cluster()
        .wait_until("entries of another version", 30s,
                    [&] { return keeps_results(round + std::to_string(i++)) == kept; })
        .ok();
  }
};

TEST_F(MixedVersionsTest, NewerEntriesWaitForTheLastMember) {
  ASSERT_NO_FATAL_FAILURE(start_nodes(3));
  eventually(0, "defaultdb", "CREATE DATABASE app");
  eventually(0, "app", "CREATE TABLE t (k text PRIMARY KEY)");
  ASSERT_NO_FATAL_FAILURE(wait_replicated(3));
  EXPECT_TRUE(keeps_results("all-new"));
  const NodeId old = cluster().facts(2)->node;
  set_log_format(old, 1);
  EXPECT_TRUE(becomes(false, "mixed"));
  cluster().kill_node(2);
  EXPECT_FALSE(keeps_results("away")) << "it comes back to the same log";
  ASSERT_TRUE(cluster().start(2).ok());  // with the new program, which says so
  ASSERT_NO_FATAL_FAILURE(wait_ready(2));
  EXPECT_TRUE(becomes(true, "upgraded"));
}

}  // namespace
}  // namespace outlast
