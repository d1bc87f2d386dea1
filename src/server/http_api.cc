#include "server/http_api.h"

#include <boost/json/array.hpp>
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

namespace {
Response json_response(const json::value& value, int status = 200) {
  return Response::json(json::serialize(value) + "\n", status);
}

asio::awaitable<Response> health(std::shared_ptr<ProbePorts> ports, Request request) {
  if (request.query["ready"] != "1") co_return json_response({{"status", "ok"}});
  const std::string reason = ports->not_ready();
  if (reason.empty()) co_return json_response({{"status", "ok"}, {"ready", true}});
  co_return json_response({{"status", "not ready"}, {"ready", false}, {"reason", reason}}, 503);
}

asio::awaitable<Response> metrics(std::shared_ptr<ProbePorts> ports, Request) {
  Response response = Response::text(ports->metrics->text());
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  co_return response;
}

asio::awaitable<Response> nodes(std::shared_ptr<HttpPorts> ports, Request) {
  json::array list;
  const proto::NodeStatusReply reply = ports->nodes();
  for (const proto::NodeStatus& node : reply.nodes()) list.push_back(to_json(node));
  co_return json_response(list);
}

asio::awaitable<Response> nodes_and_work(std::shared_ptr<HttpPorts> ports, Request) {
  const Result<proto::NodeStatusReply> reply = co_await gateway::await_callback<proto::NodeStatusReply>(
      [ports](Callback<proto::NodeStatusReply> done) { ports->nodes_and_work(std::move(done)); });
  if (!reply.ok()) co_return Response::error(reply.error());
  json::array list;
  for (const proto::NodeStatus& node : reply->nodes()) list.push_back(to_json(node));
  co_return json_response({{"nodes", std::move(list)}});
}

asio::awaitable<Response> tasks(std::shared_ptr<HttpPorts> ports, Request) {
  const Result<proto::TasksReply> reply = co_await gateway::await_callback<proto::TasksReply>(
      [ports](Callback<proto::TasksReply> done) { ports->tasks(std::move(done)); });
  if (!reply.ok()) co_return Response::error(reply.error());
  json::array list;
  for (const auto& task : reply->tasks()) list.push_back(to_json(task));
  co_return json_response(list);
}

asio::awaitable<Response> ranges(std::shared_ptr<HttpPorts> ports, Request) {
  const Result<proto::RangesReply> reply = co_await gateway::await_callback<proto::RangesReply>(
      [ports](Callback<proto::RangesReply> done) { ports->ranges(std::move(done)); });
  if (!reply.ok()) co_return Response::error(reply.error());
  json::array list;
  for (const proto::RangeStatus& range : reply->ranges()) list.push_back(to_json(range));
  co_return json_response(list);
}

/// /api/ranges/<id> and /api/ranges/<id>/digest.
asio::awaitable<Response> range_detail(std::shared_ptr<HttpPorts> ports, Request request) {
  constexpr std::string_view kPrefix = "/api/ranges/", kSuffix = "/digest";
  std::string_view rest = std::string_view(request.path).substr(kPrefix.size());
  const bool digest = rest.ends_with(kSuffix);
  if (digest) rest.remove_suffix(kSuffix.size());
  const Result<std::int64_t> id = parse_int(rest);
  if (!id.ok()) co_return Response::error(Error(Errc::kNotFound, "write /api/ranges/<id> or /api/ranges/<id>/digest"));
  const RangeId range(static_cast<std::uint64_t>(*id));
  if (!digest) {
    const Result<proto::RangeReply> shown = co_await gateway::await_callback<proto::RangeReply>(
        [ports, range](Callback<proto::RangeReply> done) { ports->range(range, std::move(done)); });
    if (!shown.ok()) co_return Response::error(shown.error());
    co_return json_response(to_json(*shown));
  }
  const Result<proto::DigestReply> result = co_await gateway::await_callback<proto::DigestReply>(
      [ports, range](Callback<proto::DigestReply> done) { ports->digest(range, std::move(done)); });
  if (!result.ok()) co_return Response::error(result.error());
  co_return json_response(
      {{"lsn", result->lsn()}, {"epoch", result->epoch()}, {"crc", result->crc()}, {"file_size", result->file_size()}});
}

template <class Ports>
void get(http::Server& server, const char* path, std::shared_ptr<Ports> ports,
         asio::awaitable<Response> (*handler)(std::shared_ptr<Ports>, Request)) {
  server.route("GET", path,
               [ports = std::move(ports), handler](Request request) { return handler(ports, std::move(request)); });
}
}  // namespace

void add_probe_routes(http::Server& server, ProbePorts ports) {
  const auto shared = std::make_shared<ProbePorts>(std::move(ports));
  get(server, "/health", shared, health);
  get(server, "/metrics", shared, metrics);
}

void add_routes(http::Server& server, HttpPorts ports) {
  const auto shared = std::make_shared<HttpPorts>(std::move(ports));
  get(server, "/api/nodes", shared, nodes);
  get(server, "/api/v1/nodes", shared, nodes_and_work);
  get(server, "/api/tasks", shared, tasks);
  get(server, "/api/ranges", shared, ranges);
  get(server, "/api/ranges/", shared, range_detail);
}

}  // namespace outlast::server
