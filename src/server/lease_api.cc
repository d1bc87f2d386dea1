#include "server/lease_api.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <limits>

#include "base/parse.h"
#include "gateway/await_callback.h"

namespace outlast::server {
namespace asio = boost::asio;
namespace json = boost::json;
using http::Request;
using http::Response;
using replication::LeaseTransferProgress;

namespace {
constexpr std::int64_t kAtOnceMax = 1000;

Response to_response(const LeaseTransferProgress& progress) {
  json::array failed;
  for (const auto& one : progress.failed)
    failed.push_back(json::object{{"range", one.range.value},
                                  {"target", one.target.value},
                                  {"code", facts(one.why.code).name},
                                  {"reason", one.why.message}});
  const json::object out{{"moved", progress.moved}, {"remaining", progress.remaining}, {"failed", std::move(failed)}};
  return Response::json(json::serialize(out) + "\n");
}

/// A whole number from 1 to `max` in the query; none when it is not there.
Result<std::optional<std::int64_t>> number(const Request& request, const std::string& name, std::int64_t max) {
  const auto it = request.query.find(name);
  if (it == request.query.end()) return std::optional<std::int64_t>();
  ASSIGN_OR_RETURN(const std::int64_t value, parse_int(it->second));
  if (value >= 1 && value <= max) return std::optional(value);
  return Error(Errc::kInvalidArgument, name + " must lie between 1 and " + std::to_string(max));
}

asio::awaitable<Response> transfer_leases(std::shared_ptr<TransferLeases> transfer, Request request) {
  const auto to = number(request, "to", std::numeric_limits<std::uint32_t>::max());
  const auto at_once = number(request, "at_once", kAtOnceMax);
  if (!to.ok()) co_return Response::error(to.error());
  if (!at_once.ok()) co_return Response::error(at_once.error());
  std::optional<NodeId> target;
  if (*to) target = NodeId(static_cast<std::uint32_t>(**to));
  const auto moved = co_await gateway::await_callback<LeaseTransferProgress>(
      [transfer, target, count = static_cast<std::size_t>(at_once->value_or(32))](
          Callback<LeaseTransferProgress> done) { (*transfer)(target, count, std::move(done)); });
  co_return moved.ok() ? to_response(*moved) : Response::error(moved.error());
}
}  // namespace

void add_lease_routes(http::Server& server, TransferLeases transfer) {
  auto shared = std::make_shared<TransferLeases>(std::move(transfer));
  server.route("POST", "/api/leases/transfer",
               [shared](Request request) { return transfer_leases(shared, std::move(request)); });
}

}  // namespace outlast::server
