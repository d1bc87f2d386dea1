// Process: requests of gateways, and what leaves with their answers.
#include "executor/local_channel.h"
#include "tests/sim/cluster.h"

namespace outlast::sim {

namespace {
constexpr std::uint64_t kGateway = 1;  ///< Of all clients: their request ids are unique in a history.

proto::ExecReply refusal(Errc code) {
  proto::ExecReply reply;
  reply.mutable_error()->set_code(std::string(facts(code).name));
  reply.set_nothing_applied(true);
  return reply;
}
}  // namespace

void Process::serve(const StreamPtr& stream, proto::ExecRequest request,
                    std::move_only_function<void(proto::ExecReply)> got) {
  auto shared = std::make_shared<std::move_only_function<void(proto::ExecReply)>>(std::move(got));
  const auto reply_with = [this, stream, shared](proto::ExecReply reply) {
    cluster_.network.send(stream, 0, "exec reply",
                          [shared, reply = std::move(reply)]() mutable { (*shared)(std::move(reply)); });
  };
  if (!serving_) return reply_with(refusal(Errc::kNotLeaseholder));
  auto& held = channels_[stream->number];
  if (held == nullptr) {
    held = executor->open_channel(kGateway);
    cluster_.world.trace("node " + node_.to_string() + ": session " + std::to_string(stream->number) + " begins");
    stream->broken[1] = [this, number = stream->number] {
      cluster_.world.trace("node " + node_.to_string() + ": session " + std::to_string(number) + " ends");
      channels_.erase(number);
    };
  }
  auto& channel = static_cast<executor::LocalChannel&>(*held);
  const RangeId range(request.range());
  const Epoch epoch(request.epoch());
  Lsn visible;  // to a statement that begins now and is no part of a transaction
  if (const auto served = replicas->find(range, epoch); served.ok() && request.has_run())
    visible = (*served)->assigned();
  channel.start(std::move(request), [this, range, epoch, visible, reply_with](proto::ExecReply reply) {
    answered(range, epoch, visible, reply);
    reply_with(std::move(reply));
  });
}

/// I4: no answer leaves before everything that it depends on is durable. What an answer depends on is what it says
/// itself; but an error that tells of a row (clients meet it in autocommit only) is not believed: its statement saw all
/// that was `visible` when it came.
void Process::answered(RangeId range, Epoch epoch, Lsn visible, const proto::ExecReply& reply) {
  const bool tells_of_a_row = reply.error().code() == facts(Errc::kUniqueViolation).name;
  if (reply.lsn() == 0 && !tells_of_a_row) return;
  const auto served = replicas->find(range, epoch);
  if (!served.ok()) return;  // its end is on every member's disk, or the answer would say unknown
  if (tells_of_a_row && visible > (*served)->durable())
    return cluster_.oracle.fail("I4: an error of node " + node_.to_string() + " tells of rows up to LSN " +
                                visible.to_string() + ", of which only " + (*served)->durable().to_string() +
                                " is durable");
  if (Lsn(reply.lsn()) > (*served)->durable())
    return cluster_.oracle.fail("I4: an answer of node " + node_.to_string() + " leaves with gate LSN " +
                                std::to_string(reply.lsn()) + " above the durable " + (*served)->durable().to_string());
  cluster_.oracle.on_acknowledged(range, Lsn(reply.lsn()), epoch);
}

}  // namespace outlast::sim
