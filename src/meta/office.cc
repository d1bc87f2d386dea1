#include "meta/office.h"

#include "meta/cas.h"
#include "meta/json_fields.h"
#include "meta/keys.h"

namespace outlast::meta {
namespace {
constexpr Duration kRetryPause = std::chrono::milliseconds(500);

std::string encode_holder(liveness::Peer peer) {
  return boost::json::serialize(
      boost::json::object{{"node", peer.node.value}, {"incarnation", peer.incarnation.value}});
}
}  // namespace

Result<liveness::Peer> decode_office_holder(std::string_view text) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(text, "the office record"));
  const liveness::Peer peer{NodeId(static_cast<NodeId::rep>(fields.number("node"))),
                            Incarnation(fields.number("incarnation"))};
  TRY(fields.check());
  return peer;
}

Office::Office(Store& store, Loop& loop, liveness::Peer self, FenceMirror& fences)
    : store_(store),
      loop_(loop),
      self_(self),
      fences_(fences),
      holder_(store, std::string(keys::kOffice),
              [](std::string_view, std::string_view value) { return decode_office_holder(value); }) {
  holder_.on_change([this](const Holder::Change& change) {
    const std::optional<liveness::Peer> now = change.after ? std::optional(change.after->value) : std::nullopt;
    for (std::size_t i = 0; i < sinks_.size(); ++i) sinks_[i](now, now == self_);
  });
  holder_.on_batch([this] { consider(); });
  fences_.on_change([this, alive = std::weak_ptr<int>(alive_)](const FenceMirror::Change&) {
    if (alive.lock()) consider();
  });
}

Office::~Office() {
  loop_.cancel(retry_);
}

void Office::stand() {
  standing_ = true;
  resigned_ = false;
  consider();
}

Office::Holder::EntryPtr Office::entry() const {
  return holder_.find(keys::kOffice);
}

std::optional<liveness::Peer> Office::leader() const {
  const auto holder = entry();
  return holder ? std::optional(holder->value) : std::nullopt;
}

bool Office::holds() const {
  return leader() == self_;
}

std::optional<Compare> Office::guard() const {
  const auto holder = entry();
  if (!holder || holder->value != self_) return std::nullopt;
  return Compare::exists_since(std::string(keys::kOffice), holder->create_revision);
}

void Office::consider() {
  // We took it with a request that was under way when we resigned.
  if (resigned_ && !acting_ && holds()) return leave([](Result<void>) {});
  if (!standing_ || acting_ || !holder_.ready()) return;
  if (fences_.find(keys::fence(self_))) return;  // finished
  const auto holder = entry();
  if (!holder) return take();
  if (holder->value != self_ && fences_.find(keys::fence(holder->value))) clear(*holder);
}

void Office::take() {
  Txn txn;
  txn.compares.push_back(Compare::absent(std::string(keys::kOffice)));
  txn.compares.push_back(Compare::absent(keys::fence(self_)));
  txn.then.push_back(Op::put(std::string(keys::kOffice), encode_holder(self_)));
  act(std::move(txn));
}

/// Away with a fenced holder, as a step of its own: the next one's key gets a new create_revision, so that nothing the
/// old one still sends passes its guard.
void Office::clear(const Holder::Entry& holder) {
  Txn txn;
  txn.compares.push_back(Compare::unchanged(std::string(keys::kOffice), holder.mod_revision));
  txn.compares.push_back(Compare::present(keys::fence(holder.value)));
  txn.then.push_back(Op::del(std::string(keys::kOffice)));
  act(std::move(txn));
}

/// The watch tells who holds the office; the answer only says when to look again: at once when the watch has shown its
/// effect already, else with the watch's next batch, and after a pause in any case.
void Office::act(Txn txn) {
  acting_ = true;
  store_.txn(std::move(txn), kMetaTimeout, [this, alive = std::weak_ptr<int>(alive_)](Result<TxnReply> reply) {
    if (!alive.lock()) return;
    acting_ = false;
    retry_later();
    if (reply.ok() && reply->succeeded && holder_.revision() >= reply->revision) consider();
  });
}

void Office::retry_later() {
  loop_.cancel(retry_);
  retry_ = loop_.after(kRetryPause, [this] {
    retry_ = 0;
    consider();
  });
}

void Office::resign(Callback<void> done) {
  standing_ = false;
  resigned_ = true;
  leave(std::move(done));
}

void Office::leave(Callback<void> done) {
  Txn txn;
  txn.compares.push_back(Compare::value_is(std::string(keys::kOffice), encode_holder(self_)));
  txn.then.push_back(Op::del(std::string(keys::kOffice)));
  store_.txn(std::move(txn), kMetaTimeout, [done = std::move(done)](Result<TxnReply> reply) mutable {
    if (!reply.ok()) return done(std::move(reply).error());
    done({});
  });
}

}  // namespace outlast::meta
