// Node: what it answers about ranges, to other nodes, to the CLI and over HTTP.
#include "server/node.h"

namespace outlast::server {

template <class Reply>
void Node::with_admin(Callback<Reply> done, std::move_only_function<void(RangeAdmin&, Callback<Reply>)> work) {
  loop_.post([this, done = std::move(done), work = std::move(work)]() mutable {
    if (!range_admin_ || !serving_)
      return done(Error(Errc::kNotReady, "the node is starting or stopping; ask another"));
    work(*range_admin_, std::move(done));
  });
}

void Node::add_range_services(rpc::Services& services) {
  services.digest = [this](const proto::DigestRequest& request, Callback<proto::DigestReply> done) {
    with_admin<proto::DigestReply>(
        std::move(done), [request](RangeAdmin& admin, auto answer) { admin.digest(request, std::move(answer)); });
  };
  services.replicas = [this](const proto::ReplicasRequest& request, Callback<proto::ReplicasReply> done) {
    with_admin<proto::ReplicasReply>(std::move(done),
                                     [request](RangeAdmin& admin, auto answer) { answer(admin.own(request)); });
  };
  services.ranges = [this](const proto::RangesRequest&, Callback<proto::RangesReply> done) {
    with_admin<proto::RangesReply>(std::move(done),
                                   [](RangeAdmin& admin, auto answer) { admin.ranges(std::move(answer)); });
  };
  services.range = [this](const proto::RangeRequest& request, Callback<proto::RangeReply> done) {
    with_admin<proto::RangeReply>(std::move(done), [range = RangeId(request.range())](RangeAdmin& admin, auto answer) {
      admin.range(range, std::move(answer));
    });
  };
  services.verify_range = [this](const proto::VerifyRangeRequest& request, Callback<proto::VerifyRangeReply> done) {
    with_admin<proto::VerifyRangeReply>(std::move(done), [request](RangeAdmin& admin, auto answer) {
      admin.verify(RangeId(request.range()), std::chrono::milliseconds(request.timeout_ms()), std::move(answer));
    });
  };
  services.recover_range = [this](const proto::RecoverRangeRequest& request, Callback<proto::RecoverRangeReply> done) {
    with_admin<proto::RecoverRangeReply>(
        std::move(done), [request](RangeAdmin& admin, auto answer) { admin.recover(request, std::move(answer)); });
  };
  services.meta_status = [this](const proto::MetaStatusRequest&, Callback<proto::MetaStatusReply> done) {
    with_admin<proto::MetaStatusReply>(std::move(done),
                                       [](RangeAdmin& admin, auto answer) { admin.meta_status(std::move(answer)); });
  };
  services.rebuild_meta = [this](const proto::RebuildMetaRequest& request, Callback<proto::RebuildMetaReply> done) {
    with_admin<proto::RebuildMetaReply>(
        std::move(done), [request](RangeAdmin& admin, auto answer) { admin.rebuild(request, std::move(answer)); });
  };
}

void Node::add_range_ports(HttpPorts& ports) {
  ports.ranges = [this](Callback<proto::RangesReply> done) {
    if (!serving_) return done(proto::RangesReply());
    with_admin<proto::RangesReply>(std::move(done),
                                   [](RangeAdmin& admin, auto answer) { admin.ranges(std::move(answer)); });
  };
  ports.range = [this](RangeId range, Callback<proto::RangeReply> done) {
    with_admin<proto::RangeReply>(std::move(done),
                                  [range](RangeAdmin& admin, auto answer) { admin.range(range, std::move(answer)); });
  };
  ports.digest = [this](RangeId range, Callback<proto::DigestReply> done) {
    with_admin<proto::DigestReply>(std::move(done), [range](RangeAdmin& admin, auto answer) {
      proto::DigestRequest request;
      request.set_range(range.value);
      admin.digest(request, std::move(answer));
    });
  };
}

}  // namespace outlast::server
