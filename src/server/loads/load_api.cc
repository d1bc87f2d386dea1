#include "server/loads/load_api.h"

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>

#include "base/parse.h"
#include "server/loads/load_routes.h"

namespace outlast::server {
namespace asio = boost::asio;
namespace json = boost::json;
using http::BodyStream;
using http::Request;
using http::Response;
using loads::State;

namespace {
/// "/api/d/t/_stream_load" → d, t.
std::optional<std::pair<std::string, std::string>> names_in(const std::string& path) {
  constexpr std::string_view kPrefix = "/api/", kSuffix = "/_stream_load";
  if (!path.starts_with(kPrefix) || !path.ends_with(kSuffix)) return std::nullopt;
  const std::string middle = path.substr(kPrefix.size(), path.size() - kPrefix.size() - kSuffix.size());
  const std::size_t slash = middle.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == middle.size()) return std::nullopt;
  return std::pair(middle.substr(0, slash), middle.substr(slash + 1));
}

/// One request, one load.
asio::awaitable<StreamLoadAnswer> load_once(gateway::Cluster& cluster, StreamLoadRequest request, BodyStream* body) {
  auto opened = co_await loads::Load::open(cluster, request.options);
  if (!opened.ok()) co_return failed(opened.error(), request.options.label);
  if (!opened->load) co_return answer_of_existing(*opened->existing);
  loads::Load& load = *opened->load;
  auto fed = co_await feed_load(request, &load, body);
  Result<loads::Label> ended = fed.ok() ? co_await load.finish() : Result<loads::Label>(fed.error());
  if (ended.ok()) co_return answer_of_end(*ended);
  if (load.taken_by()) co_return answer_of_existing(*load.taken_by());
  StreamLoadAnswer out = failed(ended.error(), load.label().label);
  out.label = load.label();
  if (ended.error().code != Errc::kUnknownOutcome) co_await load.abort(ended.error().message);
  co_return out;
}

asio::awaitable<Response> stream_load(LoadRoutesPtr shared, Request request, BodyStream* body) {
  const auto names = names_in(request.path);
  if (!names) co_return Response::error(Error(Errc::kNotFound, "write PUT /api/<database>/<table>/_stream_load"));
  lifecycle::Ticket ticket;
  if (auto refused = refuse(*shared, request, ticket)) co_return *std::move(refused);
  auto read = read_stream_load(request, names->first, names->second);
  if (!read.ok()) co_return to_response(failed(read.error(), request.header("label")));
  const auto began = std::chrono::steady_clock::now();
  StreamLoadAnswer answer = co_await load_once(*shared->ports.cluster(), *std::move(read), body);
  answer.millis =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began).count();
  ticket.end(answer.status == "Fail" ? lifecycle::Outcome::kFailed : lifecycle::Outcome::kDone);
  co_return to_response(answer);
}

/// What StarRocks calls the states.
std::string_view state_word(State state) {
  switch (state) {
    case State::kPreparing:
      return "LOADING";
    case State::kPrepared:
      return "PREPARED";
    case State::kCommitted:
      return "COMMITTED";
    case State::kDone:
      return "FINISHED";
    case State::kAborted:
      return "CANCELLED";
  }
  return "UNKNOWN";
}

asio::awaitable<Response> load_info(LoadRoutesPtr shared, Request request) {
  constexpr std::string_view kPrefix = "/api/", kSuffix = "/_load_info";
  const std::string& path = request.path;
  if (!path.ends_with(kSuffix) || path.size() <= kPrefix.size() + kSuffix.size())
    co_return Response::error(Error(Errc::kNotFound, "there is no " + path + " here"));
  if (shared->ports.cluster() == nullptr) co_return Response::error(Error(Errc::kNotReady, "the node is starting"));
  const std::string database = path.substr(kPrefix.size(), path.size() - kPrefix.size() - kSuffix.size());
  const auto found = co_await loads::find_label(*shared->ports.cluster(), database, request.query["label"]);
  if (!found.ok()) co_return Response::error(found.error());
  if (!found->has_value()) co_return Response::error(Error(Errc::kNotFound, "no load has this label"));
  const loads::Label& label = **found;
  const loads::Counts& counts = label.counts;
  const json::object job{
      {"dbName", database},        {"tblNames", {label.table}},        {"label", label.label},
      {"txnId", label.txn},        {"state", state_word(label.state)}, {"failMsg", label.error},
      {"totalRows", counts.total}, {"loadedRows", counts.loaded},      {"filteredRows", counts.filtered},
      {"loadBytes", counts.bytes}};
  co_return Response::json(json::serialize(json::object{{"jobInfo", job}, {"status", "OK"}, {"msg", "Success"}}) +
                           "\n");
}
}  // namespace

void add_load_routes(http::Server& server, LoadPorts ports) {
  const auto shared = std::make_shared<LoadRoutes>();
  shared->ports = std::move(ports);
  server.route_stream("PUT", "/api/", {}, [shared](Request request, BodyStream* body) {
    return stream_load(shared, std::move(request), body);
  });
  add_transaction_routes(server, shared);
  server.route("GET", "/api/", [shared](Request request) { return load_info(shared, std::move(request)); });
}

}  // namespace outlast::server
