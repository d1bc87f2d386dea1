#include "server/metadata_heard.h"

#include <utility>

#include "meta/keys.h"

namespace outlast::server {
namespace {
constexpr Duration kPatience = std::chrono::seconds(2);
}  // namespace

MetadataHeard::MetadataHeard(Loop& loop, meta::Store& store, Task again)
    : loop_(loop), store_(store), state_(std::make_shared<State>()) {
  state_->again = std::move(again);
}

bool MetadataHeard::lately() {
  if (state_->heard && loop_.now() - *state_->heard <= kFresh) return true;
  if (std::exchange(state_->asking, true)) return false;
  meta::Txn look;
  look.then.push_back(meta::Op::get(std::string(meta::keys::kCluster)));
  store_.txn(std::move(look), kPatience,
             [&loop = loop_, weak = std::weak_ptr(state_)](const Result<meta::TxnReply>& reply) {
               const auto state = weak.lock();
               if (!state) return;
               state->asking = false;
               if (!reply.ok()) return;
               state->heard = loop.now();
               state->again();
             });
  return false;
}

}  // namespace outlast::server
