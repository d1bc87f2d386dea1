#include "server/loads/load_routes.h"

#include <utility>

namespace outlast::server {
using http::Request;
using http::Response;
using loads::State;

namespace {
std::string target_of(const Request& request) {
  std::string target = request.path;
  char mark = '?';
  for (const auto& [name, value] : request.query) target += std::exchange(mark, '&') + name + "=" + value;
  return target;
}

}  // namespace

Response to_response(const StreamLoadAnswer& answer, int status) {
  return Response::json(to_json(answer), status);
}

StreamLoadAnswer failed(const Error& error, const std::string& label) {
  StreamLoadAnswer out;
  out.status = "Fail";
  out.message = error.message + (error.detail.empty() ? "" : " " + error.detail);
  out.label.label = label;
  return out;
}

Response send_elsewhere(const Request& request, const std::string& address, const std::string& why) {
  StreamLoadAnswer answer = failed(Error(Errc::kNotReady, why), request.header("label"));
  if (address.empty()) {
    answer.message += "; nothing was loaded, try again";
    Response out = to_response(answer, 503);
    out.headers["Retry-After"] = "1";
    return out;
  }
  Response out = to_response(answer, 307);
  out.headers["Location"] = "http://" + address + target_of(request);
  return out;
}

std::optional<Response> refuse(const LoadRoutes& shared, const Request& request, lifecycle::Ticket& ticket) {
  std::string why = shared.ports.not_ready();
  if (why.empty() && shared.ports.cluster() == nullptr) why = "the node is starting";
  if (why.empty()) {
    auto admitted = shared.ports.admit();
    if (admitted.ok()) {
      ticket = *std::move(admitted);
      return std::nullopt;
    }
    why = admitted.error().message;
  }
  return send_elsewhere(request, shared.ports.elsewhere(), why);
}

StreamLoadAnswer answer_of_end(const loads::Label& label) {
  StreamLoadAnswer out;
  out.label = label;
  if (label.state == State::kDone) return out;
  out.status = "Publish Timeout";
  out.message = "the load is committed and its rows will be seen: do not load them again; " + label.error;
  return out;
}

}  // namespace outlast::server
