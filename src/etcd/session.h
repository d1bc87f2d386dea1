#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "etcd/codec.h"
#include "etcd/member.h"
#include "etcd/verdict.h"

namespace outlast::etcd {

/// Something that a caller wants done, once, at whatever member answers. `done` runs on the strand.
/// Its error is kMetaInDoubt only for what writes; reads are repeated at other members until the deadline.
struct Request {
  std::variant<pb::TxnRequest, pb::CompactionRequest> body;
  bool is_read_only{true};  ///< Or may be repeated without harm.
  Time deadline;
  std::move_only_function<void(Result<pb::TxnResponse>)> done;
  // The session's own.
  Member* at{nullptr};
  CallHandle call;
  Time sent{};
  std::uint64_t floor{0};  ///< The revision that was known when it was sent.
};
using RequestPtr = std::shared_ptr<Request>;

/// What operators are told about the metadata store.
struct Health {
  bool connected{false};
  std::string member;               ///< The one in use; empty: none answers.
  std::string problem;              ///< Why none answers, or answered last.
  std::vector<std::string> alarms;  ///< "NOSPACE", "CORRUPT".
  std::int64_t db_bytes{0}, db_bytes_in_use{0};
};

/// Finds a member of etcd that answers, and gives it all requests. A member is in use from its answer to a linearizable
/// read (so it knows a leader and a majority) until its connection breaks, it says that it cannot serve, or it is
/// silent while another one answers. A write is sent once: what breaks after that is in doubt.
/// Thread-safety: the strand's. Lifetime: destroy it after strand.stop().
class Session {
 public:
  struct Events {
    std::function<void()> switched;           ///< current() changed.
    std::function<void()> regressed;          ///< The store lost revisions: nothing that was seen is certain.
    std::function<void(Result<void>)> tried;  ///< After the first member answered, or refused us.
    std::function<void(const Health&)> health;
  };
  Session(const Options& options, const Secrets& secrets, const Codec& codec, Calls& calls, Events events);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void submit(RequestPtr request);
  void tick();
  Member* current() const { return current_; }
  /// Something else than a request shows that it cannot serve.
  void distrust(const Member& member, const std::string& why);
  /// A revision that certainly exists.
  void saw(std::uint64_t revision) { newest_ = std::max(newest_, revision); }
  /// The newest change of our own that was confirmed.
  std::uint64_t written() const { return written_; }
  Time written_at() const { return written_at_; }
  const std::string& token() const { return calls_.token; }

 private:
  void send(const RequestPtr& request);
  void on_reply(const RequestPtr& request, const grpc::Status& status, const pb::TxnResponse& reply);
  void on_failure(const RequestPtr& request, const grpc::Status& status);
  void wait_or_expire(const RequestPtr& request);
  void expire_waiting();
  void learn(const pb::ResponseHeader& header, std::uint64_t floor);
  Error unavailable() const;
  // Which member.
  void probe(Member& member);
  void probe_where_due();
  void log_in(Member& member);
  void on_probe(Member& member, Time sent);
  void on_probe_failed(Member& member, const grpc::Status& status);
  void adopt(Member& member);
  void drop();
  void recall_stragglers();
  bool is_silent(Duration longer_than) const;
  // What operators want to know.
  void ask_status();
  void on_status(const pb::StatusResponse& status);
  void publish();

  const Secrets secrets_;
  const std::string user_;
  const pb::TxnRequest probe_;
  Calls& calls_;
  Events events_;
  std::vector<std::unique_ptr<Member>> members_;
  Member* current_{nullptr};
  std::deque<RequestPtr> waiting_;
  std::vector<RequestPtr> under_way_;
  std::uint64_t newest_{0}, written_{0}, cluster_id_{0};
  Time written_at_{};
  bool needs_login_;
  CallHandle status_call_;
  Time status_at_{};
  Health health_;
};

}  // namespace outlast::etcd
