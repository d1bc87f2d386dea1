#include "server/drain_api.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/parse.h"
#include "gateway/await_callback.h"
#include "server/json_views.h"

namespace outlast::server {
namespace asio = boost::asio;
namespace json = boost::json;
using http::Request;
using http::Response;
using Action = proto::DrainRequest;

namespace {
Result<bool> flag(const Request& request, const std::string& name) {
  const auto it = request.query.find(name);
  if (it == request.query.end() || it->second == "0") return false;
  if (it->second == "1") return true;
  return Error(Errc::kInvalidArgument, name + " is 0 or 1");
}

Result<proto::DrainRequest> read_request(const Request& request) {
  proto::DrainRequest out;
  const auto text = [&](const std::string& name) {
    const auto it = request.query.find(name);
    return it == request.query.end() ? std::string() : it->second;
  };
  const std::string action = text("action");
  if (action == "drain")
    out.set_action(Action::DRAIN);
  else if (action == "undrain")
    out.set_action(Action::UNDRAIN);
  else if (action == "dry-run")
    out.set_action(Action::DRY_RUN);
  else
    return Error(Errc::kInvalidArgument, "write /api/drain?action=drain, undrain or dry-run");
  ASSIGN_OR_RETURN(const bool force, flag(request, "force"));
  ASSIGN_OR_RETURN(const bool shutdown, flag(request, "shutdown"));
  out.set_force(force);
  out.set_shutdown(shutdown);
  out.set_by(text("by").empty() ? "POST /api/drain" : text("by"));
  if (const std::string deadline = text("deadline"); !deadline.empty()) {
    ASSIGN_OR_RETURN(const Duration given, parse_duration(deadline));
    if (given <= Duration::zero()) return Error(Errc::kInvalidArgument, "deadline must be longer than 0s");
    out.set_deadline_ms(static_cast<std::uint64_t>(std::chrono::ceil<std::chrono::milliseconds>(given).count()));
  }
  return out;
}

asio::awaitable<Response> answer(std::shared_ptr<DrainPorts> ports, Result<proto::DrainRequest> request) {
  if (!request.ok()) co_return Response::error(request.error());
  const auto status = co_await gateway::await_callback<proto::DrainStatus>(
      [ports, &request](Callback<proto::DrainStatus> done) { ports->drain(*request, std::move(done)); });
  if (!status.ok()) co_return Response::error(status.error());
  co_return Response::json(json::serialize(to_json(*status)) + "\n");
}

asio::awaitable<Response> health(std::shared_ptr<DrainPorts> ports) {
  const std::string reason = ports->not_ready();
  const json::object body =
      reason.empty() ? json::object{{"status", "OK"}} : json::object{{"status", "FAILED"}, {"reason", reason}};
  co_return Response::json(json::serialize(body) + "\n", reason.empty() ? 200 : 500);
}
}  // namespace

void add_drain_routes(http::Server& server, DrainPorts ports) {
  auto shared = std::make_shared<DrainPorts>(std::move(ports));
  server.route("GET", "/api/drain", [shared](Request) { return answer(shared, proto::DrainRequest()); });
  server.route("POST", "/api/drain", [shared](Request request) { return answer(shared, read_request(request)); });
  server.route("GET", "/api/health", [shared](Request) { return health(shared); });
}

}  // namespace outlast::server
