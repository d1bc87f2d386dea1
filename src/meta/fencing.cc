#include "meta/fencing.h"

#include <boost/json.hpp>

#include "meta/cas.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {
constexpr Duration kRetryPause = std::chrono::milliseconds(200);

void attempt(Store& store, Loop& loop, std::string key, std::string value, Callback<void> done) {
  Txn txn;
  txn.compares.push_back(Compare::absent(key));
  txn.then.push_back(Op::put(key, value));
  store.txn(std::move(txn), kMetaTimeout,
            [&store, &loop, key, value, done = std::move(done)](Result<TxnReply> reply) mutable {
              if (reply.ok()) return done({});  // written, or there before
              loop.after(kRetryPause, [&store, &loop, key, value, done = std::move(done)]() mutable {
                attempt(store, loop, std::move(key), std::move(value), std::move(done));
              });
            });
}
}  // namespace

std::string encode_fence(const std::string& by, const std::string& why) {
  return boost::json::serialize(boost::json::object{{"by", by}, {"why", why}});
}

void fence_now(Store& store, Loop& loop, liveness::Peer gone, std::string by, std::string why, Callback<void> done) {
  attempt(store, loop, keys::fence(gone), encode_fence(by, why), std::move(done));
}

}  // namespace outlast::meta
