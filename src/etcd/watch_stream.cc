#include "etcd/watch_stream.h"

namespace outlast::etcd {

std::shared_ptr<WatchStream> WatchStream::open(Member& member, Calls& calls, pb::WatchCreateRequest what,
                                               Events events) {
  std::shared_ptr<WatchStream> stream(new WatchStream(member, calls, std::move(events)));
  stream->keep_ = stream;
  *stream->request_.mutable_create() = std::move(what);
  prepare(stream->context_, calls.token);
  calls.under_way.begin();
  member.watch().async()->Watch(&stream->context_, stream.get());
  stream->StartWrite(&stream->request_);  // the only one; the stream stays open for reading
  stream->StartRead(&stream->incoming_);
  stream->StartCall();
  return stream;
}

void WatchStream::OnReadDone(bool ok) {
  if (!ok) return;  // OnDone follows
  calls_.strand.post(
      [self = shared_from_this(), response = std::move(incoming_)] { self->events_.response(*self, response); });
  incoming_.Clear();
  StartRead(&incoming_);
}

void WatchStream::OnDone(const grpc::Status& status) {
  Calls& calls = calls_;
  calls.strand.post([self = std::move(keep_), status] { self->events_.ended(*self, status); });
  calls.under_way.end();
}

}  // namespace outlast::etcd
