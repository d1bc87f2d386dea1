#include "server/join.h"

#include <openssl/rand.h>
#include <spdlog/spdlog.h>

#include <thread>

#include "meta/identity.h"
#include "server/blocking.h"

namespace outlast::server {
namespace {
using namespace std::chrono_literals;

/// Repeats what metadata cannot answer yet.
template <class T, class Ask>
Result<T> ask_until(Loop& loop, const std::function<bool()>& give_up, Errc also_wait_for, Ask ask) {
  for (bool told = false;; std::this_thread::sleep_for(100ms)) {
    Result<T> answer = wait_on<T>(loop, ask);
    if (answer.ok()) return answer;
    const Errc code = answer.error().code;
    if (code != Errc::kMetaUnavailable && code != Errc::kMetaInDoubt && code != also_wait_for) return answer;
    if (!told) spdlog::info("join: waiting: {}", answer.error().message);
    told = true;
    if (give_up()) return Error(Errc::kShuttingDown, "stopped before the node had joined its cluster");
  }
}
}  // namespace

std::string new_uuid() {
  unsigned char b[16];
  OUTLAST_ASSERT(RAND_bytes(b, sizeof b) == 1, "the system has no randomness");
  b[6] = static_cast<unsigned char>((b[6] & 0x0f) | 0x40);
  b[8] = static_cast<unsigned char>((b[8] & 0x3f) | 0x80);
  std::string text;
  char hex[3];
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    std::snprintf(hex, sizeof hex, "%02x", b[i]);
    text.append(hex);
  }
  return text;
}

Result<Membership> join_cluster(Loop& loop, meta::Store& meta, storage::StoreDir& store, bool standby,
                                const std::function<bool()>& give_up) {
  ASSIGN_OR_RETURN(const meta::ClusterRecord cluster,
                   ask_until<meta::ClusterRecord>(loop, give_up, Errc::kNotInitialised,
                                                  [&](auto done) { meta::read_cluster(meta, std::move(done)); }));
  TRY(store.check_cluster(cluster.id));
  if (standby && store.is_new()) return Error(Errc::kInvalidState, "a standby worker needs a store that is in use");
  if (store.is_new()) {
    ASSIGN_OR_RETURN(const NodeId node, ask_until<NodeId>(loop, give_up, Errc::kMetaConflict, [&](auto done) {
                       meta::allocate_node_id(meta, std::move(done));
                     }));
    TRY(store.set_identity({cluster.id, new_uuid(), node}));
    spdlog::info("join: this store is node {} of cluster {}", node.value, cluster.id);
  }
  const storage::StoreIdentity identity = store.identity();
  const auto incarnation = ask_until<Incarnation>(loop, give_up, Errc::kMetaConflict, [&](auto done) {
    meta::draw_incarnation(meta, identity.node, std::move(done));
  });
  if (!incarnation.ok()) {
    // Decommissioned while no process of it ran: what is known now holds without metadata, too.
    if (incarnation.error().code == Errc::kInvalidState && !standby) TRY(store.retire());
    return incarnation.error();
  }
  if (!standby) TRY(store.record_incarnation(*incarnation));
  return Membership{cluster.id, identity.store_uuid, identity.node, *incarnation};
}

}  // namespace outlast::server
