// The transaction form of stream loads: begin, load as often as wanted, prepare, commit or rollback.
#include "base/parse.h"
#include "server/loads/load_routes.h"

namespace outlast::server {
namespace asio = boost::asio;
using http::BodyStream;
using http::Request;
using http::Response;
using loads::State;

namespace {
/// The words of the transaction form.
Response transaction_answer(StreamLoadAnswer answer) {
  if (answer.status == "Success") answer.status = "OK";
  return to_response(answer);
}
Response transaction_failed(const Error& error, const Request& request) {
  return to_response(failed(error, request.header("label")));
}

asio::awaitable<Response> begin(LoadRoutesPtr shared, Request request) {
  lifecycle::Ticket ticket;
  if (auto refused = refuse(*shared, request, ticket)) co_return *std::move(refused);
  auto read = read_stream_load(request, request.header("db"), request.header("table"));
  if (read.ok() && (request.header("db").empty() || request.header("table").empty() || read->options.label.empty()))
    read = Error(Errc::kInvalidArgument, "a transaction needs the headers db, table and label");
  if (!read.ok()) co_return transaction_failed(read.error(), request);
  gateway::Cluster& cluster = *shared->ports.cluster();
  read->options.two_steps = true;
  shared->transactions.drop_expired(cluster.wall_micros());
  auto opened = co_await loads::Load::open(cluster, read->options);
  if (!opened.ok()) co_return transaction_failed(opened.error(), request);
  if (!opened->load) co_return transaction_answer(answer_of_existing(*opened->existing));
  StreamLoadAnswer answer;
  answer.label = opened->load->label();
  auto open = std::make_shared<LoadTransactions::Open>();
  open->load = std::move(opened->load);
  open->options = read->options;
  shared->transactions.keep(read->options.database, read->options.label, std::move(open));
  ticket.end(lifecycle::Outcome::kDone);
  co_return transaction_answer(std::move(answer));
}

/// A transaction that is not open here: where it is, or that it has ended.
asio::awaitable<Response> not_here(LoadRoutesPtr shared, Request request) {
  gateway::Cluster& cluster = *shared->ports.cluster();
  const auto found = co_await loads::find_label(cluster, request.header("db"), request.header("label"));
  if (!found.ok()) co_return transaction_failed(found.error(), request);
  if (!found->has_value())
    co_return transaction_failed(Error(Errc::kNotFound, "no transaction has this label; begin one"), request);
  const loads::Label& label = **found;
  if (label.state == State::kPreparing && label.owner != cluster.process() && !cluster.process_gone(label.owner)) {
    const auto node = parse_int(label.owner.substr(0, label.owner.find('/')));
    const std::string address =
        node.ok() ? shared->ports.http_address(NodeId(static_cast<std::uint32_t>(*node))) : std::string();
    if (!address.empty()) co_return send_elsewhere(request, address, "another node has this transaction");
  }
  co_return transaction_failed(
      Error(Errc::kInvalidState, "the transaction is " + std::string(to_string(label.state)) +
                                     " or another request works on it: no rows can be added here"),
      request);
}

asio::awaitable<Response> load(LoadRoutesPtr shared, Request request, BodyStream* body) {
  if (shared->ports.cluster() == nullptr) co_return send_elsewhere(request, {}, "the node is starting");
  const std::string database = request.header("db"), label = request.header("label");
  auto open = shared->transactions.take(database, label);
  if (open == nullptr) co_return co_await not_here(shared, std::move(request));
  auto read = read_stream_load(request, database, open->options.table);
  Result<void> fed = read.ok() ? Result<void>() : Result<void>(read.error());
  if (read.ok() && !read->options.columns.empty() && read->options.columns != open->load->columns())
    fed = Error(Errc::kInvalidArgument,
                "header columns: name them in begin; all requests of a transaction have the same");
  if (!fed.ok()) {
    shared->transactions.keep(database, label, open);
    co_return transaction_failed(fed.error(), request);
  }
  read->options = open->options;
  fed = co_await feed_load(*std::move(read), open->load.get(), body);
  if (!fed.ok()) {
    co_await open->load->abort(fed.error().message);
    co_return transaction_failed(fed.error(), request);
  }
  StreamLoadAnswer answer;
  answer.label = open->load->label();
  shared->transactions.keep(database, label, std::move(open));
  co_return transaction_answer(std::move(answer));
}

asio::awaitable<Response> prepare(LoadRoutesPtr shared, Request request) {
  if (shared->ports.cluster() == nullptr) co_return send_elsewhere(request, {}, "the node is starting");
  const std::string database = request.header("db"), label = request.header("label");
  auto open = shared->transactions.take(database, label);
  if (open == nullptr) {
    const auto found = co_await loads::find_label(*shared->ports.cluster(), database, label);
    if (!found.ok() || !found->has_value() || (*found)->state != State::kPrepared)
      co_return co_await not_here(shared, std::move(request));
    StreamLoadAnswer again;
    again.label = **found;
    co_return transaction_answer(std::move(again));
  }
  if (auto done = co_await open->load->prepare(); !done.ok()) {
    co_await open->load->abort(done.error().message);
    co_return transaction_failed(done.error(), request);
  }
  StreamLoadAnswer answer;
  answer.label = open->load->label();
  co_return transaction_answer(std::move(answer));  // from here on anybody may end it, by its label
}

asio::awaitable<Response> commit(LoadRoutesPtr shared, Request request) {
  if (shared->ports.cluster() == nullptr) co_return send_elsewhere(request, {}, "the node is starting");
  const std::string database = request.header("db"), label = request.header("label");
  auto open = shared->transactions.take(database, label);
  Result<loads::Label> ended = Error(Errc::kInternal, "");
  if (open != nullptr) {
    ended = co_await open->load->finish();
    if (!ended.ok() && ended.error().code != Errc::kUnknownOutcome) co_await open->load->abort(ended.error().message);
  } else {
    ended = co_await loads::commit_label(*shared->ports.cluster(), database, label);
  }
  if (!ended.ok()) co_return transaction_failed(ended.error(), request);
  co_return transaction_answer(answer_of_end(*ended));
}

asio::awaitable<Response> rollback(LoadRoutesPtr shared, Request request) {
  if (shared->ports.cluster() == nullptr) co_return send_elsewhere(request, {}, "the node is starting");
  const std::string database = request.header("db"), label = request.header("label");
  if (auto open = shared->transactions.take(database, label)) co_await open->load->abort("rolled back by its client");
  auto ended = co_await loads::abort_label(*shared->ports.cluster(), database, label, "rolled back by its client");
  if (!ended.ok()) co_return transaction_failed(ended.error(), request);
  StreamLoadAnswer answer;
  answer.label = *ended;
  co_return transaction_answer(std::move(answer));
}

}  // namespace

void add_transaction_routes(http::Server& server, LoadRoutesPtr shared) {
  const auto post = [&](const char* path, asio::awaitable<Response> (*handler)(LoadRoutesPtr, Request)) {
    server.route("POST", path, [shared, handler](Request request) { return handler(shared, std::move(request)); });
  };
  server.route_stream("PUT", "/api/transaction/load", {},
                      [shared](Request request, BodyStream* body) { return load(shared, std::move(request), body); });
  post("/api/transaction/begin", begin);
  post("/api/transaction/prepare", prepare);
  post("/api/transaction/commit", commit);
  post("/api/transaction/rollback", rollback);
}

}  // namespace outlast::server
