#include "server/http_api.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "base/parse.h"
#include "gateway/await_callback.h"

namespace outlast::server {
namespace asio = boost::asio;
namespace json = boost::json;
using http::Request;
using http::Response;

namespace {
Response json_response(const json::value& value, int status = 200) {
  return Response::json(json::serialize(value) + "\n", status);
}

asio::awaitable<Response> health(std::shared_ptr<HttpPorts> ports, Request request) {
  if (request.query["ready"] != "1") co_return json_response({{"status", "ok"}});
  const std::string reason = ports->not_ready();
  if (reason.empty()) co_return json_response({{"status", "ok"}, {"ready", true}});
  co_return json_response({{"status", "not ready"}, {"ready", false}, {"reason", reason}}, 503);
}

asio::awaitable<Response> metrics(std::shared_ptr<HttpPorts> ports, Request) {
  Response response = Response::text(ports->metrics->text());
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  co_return response;
}

asio::awaitable<Response> nodes(std::shared_ptr<HttpPorts> ports, Request) {
  json::array list;
  const proto::NodeStatusReply reply = ports->nodes();
  for (const proto::NodeStatus& n : reply.nodes())
    list.push_back(json::object{{"id", n.id()},
                                {"address", n.address()},
                                {"sql_address", n.sql_address()},
                                {"http_address", n.http_address()},
                                {"build", n.build()},
                                {"incarnation", n.incarnation()},
                                {"liveness", n.liveness()},
                                {"is_live", n.is_live()},
                                {"is_available", n.is_available()},
                                {"membership", n.membership()},
                                {"is_draining", n.is_draining()},
                                {"replicas", n.replicas()},
                                {"leases", n.leases()},
                                {"is_leader_frontend", n.is_leader_frontend()}});
  co_return json_response(list);
}

template <class List>
json::array numbers(const List& list) {
  json::array out;
  for (const auto n : list) out.push_back(json::value(n));
  return out;
}

asio::awaitable<Response> ranges(std::shared_ptr<HttpPorts> ports, Request) {
  json::array list;
  const proto::RangesReply reply = ports->ranges();
  for (const proto::RangeStatus& r : reply.ranges())
    list.push_back(json::object{{"id", r.range()},
                                {"database", r.database()},
                                {"epoch", r.epoch()},
                                {"cfg", r.cfg()},
                                {"leaseholder", r.leaseholder()},
                                {"insync", numbers(r.insync())},
                                {"learners", numbers(r.learners())},
                                {"rf", r.rf()},
                                {"min_insync", r.min_insync()}});
  co_return json_response(list);
}

asio::awaitable<Response> range_detail(std::shared_ptr<HttpPorts> ports, Request request) {
  constexpr std::string_view kPrefix = "/api/ranges/", kSuffix = "/digest";
  const std::string_view path = request.path;
  if (!path.ends_with(kSuffix) || path.size() <= kPrefix.size() + kSuffix.size())
    co_return Response::error(Error(Errc::kNotFound, "write /api/ranges/<id>/digest"));
  const Result<std::int64_t> id = parse_int(path.substr(kPrefix.size(), path.size() - kPrefix.size() - kSuffix.size()));
  if (!id.ok()) co_return Response::error(id.error());
  const Result<proto::DigestReply> result = co_await gateway::await_callback<proto::DigestReply>(
      [ports, range = RangeId(static_cast<std::uint64_t>(*id))](Callback<proto::DigestReply> done) {
        ports->digest(range, std::move(done));
      });
  if (!result.ok()) co_return Response::error(result.error());
  co_return json_response(
      {{"lsn", result->lsn()}, {"epoch", result->epoch()}, {"crc", result->crc()}, {"file_size", result->file_size()}});
}

}  // namespace

void add_routes(http::Server& server, HttpPorts ports) {
  auto shared = std::make_shared<HttpPorts>(std::move(ports));
  const auto get = [&](const char* path, asio::awaitable<Response> (*handler)(std::shared_ptr<HttpPorts>, Request)) {
    server.route("GET", path, [shared, handler](Request request) { return handler(shared, std::move(request)); });
  };
  get("/health", health);
  get("/metrics", metrics);
  get("/api/nodes", nodes);
  get("/api/ranges", ranges);
  get("/api/ranges/", range_detail);
}

}  // namespace outlast::server
