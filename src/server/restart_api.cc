#include "server/restart_api.h"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <optional>

#include "base/parse.h"
#include "gateway/await_callback.h"
#include "server/restart_status.h"

namespace outlast::server {
namespace asio = boost::asio;
namespace json = boost::json;
using http::Request;
using http::Response;
using Ports = std::shared_ptr<const RestartPorts>;

namespace {
constexpr const char* kRestartPath = "/api/processes.zeroDowntimeRestart";
constexpr const char* kReloadPath = "/api/config.gracefulReload";

/// What the query asks for.
struct Asked {
  bool wait{false};
  std::optional<std::uint64_t> id;
  std::string by;
};

Result<Asked> read_query(const Request& request) {
  Asked asked{.wait = false, .id = {}, .by = request.method + " " + request.path};
  if (!request.body.empty() && request.body != "{}")
    return Error(Errc::kInvalidArgument, "parameters are read from the query, and there is a body: send none");
  for (const auto& [name, value] : request.query) {
    if (name == "binary")
      return Error(Errc::kInsufficientPrivilege,
                   "no path of a program is taken over the network: run `outlast restart --store=DIR --binary=PATH` on "
                   "the node's machine");
    if (name == "wait" && (value == "0" || value == "1")) {
      asked.wait = value == "1";
    } else if (const auto id = parse_int(value); name == "id" && request.method == "GET" && id.ok() && *id > 0) {
      asked.id = static_cast<std::uint64_t>(*id);
    } else if (name == "by" && request.method == "POST") {
      asked.by = value;
    } else {
      return Error(Errc::kInvalidArgument,
                   "cannot read " + name + "=" + value + ": POST takes wait=1 and by=WHO, GET takes id=N and wait=1");
    }
  }
  return asked;
}

Response object(const json::object& body, int status) {
  return Response::json(json::serialize(body) + "\n", status);
}

Result<RestartStatus> last_status(const RestartPorts& ports) {
  const std::string text = ports.status();
  if (text.empty()) return Error(Errc::kUnavailable, "the supervisor has not said anything yet: ask again");
  return parse_restart_status(text);
}

/// There is no receipt yet: how far it is, and whose receipt to ask for.
Response not_finished(const RestartPorts& ports, std::uint64_t id) {
  auto status = last_status(ports);
  json::object body = status.ok() ? std::move(status->all) : json::object();
  body["accepted"] = id;
  body["finished"] = false;
  return object(body, 202);
}

Response receipt_response(const std::string& text) {
  boost::system::error_code error;
  const json::value receipt = json::parse(text, error);
  if (error || !receipt.is_object()) return Response::error(Error(Errc::kInternal, "the receipt is not JSON"));
  return object(receipt.get_object(), restart_succeeded(receipt.get_object()) ? 200 : 409);
}

asio::awaitable<Response> wait_for(Ports ports, std::uint64_t id) {
  const auto receipt = co_await gateway::await_callback<std::string>(
      [ports, id](Callback<std::string> done) { ports->when_finished(id, std::move(done)); });
  if (receipt.ok()) co_return receipt_response(*receipt);
  const Errc code = receipt.error().code;
  if (code == Errc::kDeadline || code == Errc::kShuttingDown) co_return not_finished(*ports, id);
  co_return Response::error(receipt.error());
}

asio::awaitable<Response> start(Ports ports, Asked asked) {
  const std::string wish = json::serialize(json::object{{"by", asked.by}});
  const auto taken = co_await gateway::await_callback<std::string>(
      [ports, &wish](Callback<std::string> done) { ports->restart(wish, std::move(done)); });
  if (!taken.ok()) co_return Response::error(taken.error());
  auto status = parse_restart_status(*taken);
  if (!status.ok()) co_return Response::error(status.error());
  const std::uint64_t id = status->accepted_id();
  if (asked.wait) co_return co_await wait_for(ports, id);
  status->all["accepted"] = id;
  co_return object(status->all, 202);
}

asio::awaitable<Response> show(Ports ports, Asked asked) {
  auto status = last_status(*ports);
  if (!status.ok()) co_return Response::error(status.error());
  if (!asked.id && !(asked.wait && status->running())) co_return object(status->all, 200);
  const std::uint64_t id = asked.id.value_or(status->id), newest = status->queued ? status->id + 1 : status->id;
  if (id > newest)
    co_return Response::error(Error(Errc::kNotFound, "there is no restart " + std::to_string(id) +
                                                         " yet: the last one is " + std::to_string(newest)));
  if (id == status->receipt_id()) co_return receipt_response(json::serialize(status->receipt));
  if (asked.wait || status->finished(id)) co_return co_await wait_for(ports, id);
  co_return not_finished(*ports, id);
}
}  // namespace

asio::awaitable<Response> answer_restart(Ports ports, Request request) {
  auto asked = read_query(request);
  if (!asked.ok()) co_return Response::error(asked.error());
  if (request.method == "POST") co_return co_await start(ports, *std::move(asked));
  co_return co_await show(ports, *std::move(asked));
}

asio::awaitable<Response> answer_reload(Ports ports, Request) {
  const auto done = co_await gateway::await_callback<std::string>(
      [ports](Callback<std::string> callback) { ports->reload(std::move(callback)); });
  if (!done.ok()) co_return Response::error(done.error());
  co_return Response::json(*done + "\n");
}

void add_restart_routes(http::Server& server, RestartPorts ports) {
  const auto shared = std::make_shared<const RestartPorts>(std::move(ports));
  for (const char* method : {"GET", "POST"}) {
    server.route(method, kRestartPath,
                 [shared](Request request) { return answer_restart(shared, std::move(request)); });
    server.route(method, kReloadPath, [shared](Request request) { return answer_reload(shared, std::move(request)); });
  }
}

}  // namespace outlast::server
