#include "server/comparison.h"

#include <algorithm>
#include <map>

namespace outlast::server {
using namespace std::chrono_literals;
using proto::DigestReply;
using proto::DigestRequest;

namespace {
constexpr Duration kAskAgain = 50ms;  // until a follower has heard that the LSN is durable

/// One comparison; shared with the answers under way.
class Comparison : public std::enable_shared_from_this<Comparison> {
 public:
  Comparison(RangeAdmin& admin, const placement::RangeConfig& config, Duration limit,
             Callback<proto::VerifyRangeReply> done)
      : admin_(admin),
        loop_(admin.ports().loop),
        alive_(admin.alive()),
        range_(config.range),
        holder_(config.leaseholder->node),
        limit_(limit),
        deadline_(loop_.now() + limit),
        done_(std::move(done)) {
    for (const auto* refs : {&config.insync, &config.learners})
      for (const placement::ReplicaRef& ref : *refs) {
        auto& digest = *reply_.add_replicas();
        digest.set_node(ref.node.value);
        digest.set_learner(refs == &config.learners);
      }
  }

  void start() { hold_followers(reply_.replicas_size()); }

 private:
  DigestRequest request() const {
    DigestRequest out;
    out.set_range(range_.value);
    return out;
  }
  Duration left() const { return std::max<Duration>(deadline_ - loop_.now(), 1ms); }

  void ask(NodeId node, const DigestRequest& request, Callback<DigestReply> done) {
    if (alive_.expired()) return;  // the node is stopping
    if (node == admin_.ports().self) return admin_.digest(request, std::move(done));
    const auto to = admin_.addressee(node);
    if (!to) return done(Error(Errc::kUnavailable, "the node is not live"));
    admin_.ports().client.digest(*to, request, left(), admin_.on_loop<DigestReply>(std::move(done)));
  }

  void hold_followers(int replicas) {
    auto waiting = std::make_shared<int>(1);
    const auto one_less = [self = shared_from_this(), waiting] {
      if (--*waiting == 0) self->read_leader();
    };
    DigestRequest hold = request();
    hold.set_hold_ms(static_cast<std::uint64_t>(limit_ / 1ms));
    for (int i = 0; i < replicas; ++i) {
      const NodeId node(reply_.replicas(i).node());
      if (node == holder_) continue;
      ++*waiting;
      ask(node, hold, [self = shared_from_this(), i, one_less](const Result<DigestReply>& held) {
        if (!held.ok()) self->reply_.mutable_replicas(i)->set_error(held.error().message);
        one_less();
      });
    }
    one_less();
  }

  void read_leader() {
    ask(holder_, request(), [self = shared_from_this()](const Result<DigestReply>& digest) {
      if (!digest.ok()) {
        self->reply_.set_error("the leaseholder on node " + self->holder_.to_string() +
                               " cannot be read: " + digest.error().message);
        return self->done_(std::move(self->reply_));
      }
      self->reply_.set_lsn(digest->lsn());
      self->reply_.set_epoch(digest->epoch());
      self->read_followers(*digest);
    });
  }

  void read_followers(const DigestReply& leader) {
    waiting_ = 1;
    for (int i = 0; i < reply_.replicas_size(); ++i) {
      if (NodeId(reply_.replicas(i).node()) == holder_)
        note(i, leader);
      else if (reply_.replicas(i).error().empty())
        read_follower(i, true);
    }
    one_less();
  }

  void read_follower(int i, bool first) {
    if (first) ++waiting_;
    DigestRequest at = request();
    at.set_at_lsn(reply_.lsn());
    ask(NodeId(reply_.replicas(i).node()), at,
        [self = shared_from_this(), i](const Result<DigestReply>& digest) { self->answered(i, digest); });
  }

  void answered(int i, const Result<DigestReply>& digest) {
    if (!digest.ok() && digest.error().code == Errc::kNotReady && loop_.now() < deadline_) {
      loop_.after(kAskAgain, [self = shared_from_this(), i] { self->read_follower(i, false); });
      return;
    }
    if (!digest.ok())
      reply_.mutable_replicas(i)->set_error(digest.error().message);
    else if (digest->lsn() != reply_.lsn())  // LSN 0 cannot be asked for, and the first commit may just have come
      reply_.mutable_replicas(i)->set_error("the replica moved on while it was read; ask again");
    else
      note(i, *digest);
    one_less();
  }

  void note(int i, const DigestReply& digest) {
    auto& out = *reply_.mutable_replicas(i);
    out.set_lsn(digest.lsn());
    out.set_crc(digest.crc());
    out.set_file_size(digest.file_size());
  }

  void one_less() {
    if (--waiting_ > 0) return;
    judge(reply_, holder_);
    done_(std::move(reply_));
  }

  RangeAdmin& admin_;
  Loop& loop_;
  const std::weak_ptr<char> alive_;
  const RangeId range_;
  const NodeId holder_;
  const Duration limit_;
  const Instant deadline_;
  Callback<proto::VerifyRangeReply> done_;
  proto::VerifyRangeReply reply_;
  int waiting_{0};
};

}  // namespace

void compare_replicas(RangeAdmin& admin, const placement::RangeConfig& config, Duration limit,
                      Callback<proto::VerifyRangeReply> done) {
  if (config.leaseholder) return std::make_shared<Comparison>(admin, config, limit, std::move(done))->start();
  proto::VerifyRangeReply reply;
  reply.set_error("nobody leads the range; `outlast range show " + config.range.to_string() + "` says more");
  done(std::move(reply));
}

void judge(proto::VerifyRangeReply& reply, NodeId leaseholder) {
  const auto content = [](const proto::ReplicaDigest& d) { return std::pair(d.crc(), d.file_size()); };
  std::map<std::pair<std::uint32_t, std::uint64_t>, std::pair<int, bool>> groups;  // size, has the leaseholder
  for (const proto::ReplicaDigest& digest : reply.replicas()) {
    if (!digest.error().empty()) continue;
    auto& [size, leads] = groups[content(digest)];
    ++size;
    leads = leads || NodeId(digest.node()) == leaseholder;
  }
  const auto best = std::ranges::max_element(groups, [](const auto& a, const auto& b) { return a.second < b.second; });
  for (proto::ReplicaDigest& digest : *reply.mutable_replicas())
    digest.set_differs(digest.error().empty() && content(digest) != best->first);
}

}  // namespace outlast::server
