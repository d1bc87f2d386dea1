#pragma once
#include <functional>
#include <memory>

#include "etcd/member.h"

namespace outlast::etcd {

/// One watch at one member of etcd. Tells what it receives, in order, and at last its end, on the strand.
/// Lifetime: it keeps itself until the stream has ended; cancel() makes it end.
class WatchStream final : public grpc::ClientBidiReactor<pb::WatchRequest, pb::WatchResponse>,
                          public std::enable_shared_from_this<WatchStream> {
 public:
  struct Events {
    std::function<void(const WatchStream&, const pb::WatchResponse&)> response;
    std::function<void(const WatchStream&, const grpc::Status&)> ended;
  };
  static std::shared_ptr<WatchStream> open(Member& member, Calls& calls, pb::WatchCreateRequest what, Events events);
  void cancel() { context_.TryCancel(); }
  const Member& member() const { return member_; }

 private:
  WatchStream(Member& member, Calls& calls, Events events)
      : member_(member), calls_(calls), events_(std::move(events)) {}
  void OnReadDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;

  Member& member_;
  Calls& calls_;
  const Events events_;
  grpc::ClientContext context_;
  pb::WatchRequest request_;
  pb::WatchResponse incoming_;
  std::shared_ptr<WatchStream> keep_;
};

}  // namespace outlast::etcd
