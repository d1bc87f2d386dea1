#include "cli/restart_source.h"

#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fstream>
#include <iterator>
#include <thread>

#include "cli/http_get.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
namespace json = boost::json;
using Kind = handover::ControlMessage::Kind;
using server::RestartStatus;
constexpr Duration kLook = 100ms;
constexpr Duration kAnswerLimit = 10s;
constexpr Duration kPlanLimit = 60s;  ///< A plan tries the new program.
constexpr const char* kPath = "/api/processes.zeroDowntimeRestart";

class StoreSource final : public RestartSource {
 public:
  explicit StoreSource(std::string store) : store_(std::move(store)) {}

  Result<RestartStatus> start(const std::string& by, const std::string& binary) override {
    json::object wish{{"by", by}, {"wait", true}};
    if (!binary.empty()) wish["binary"] = binary;
    ASSIGN_OR_RETURN(const std::string text, ask(Kind::kRestart, wish, Kind::kRestartStatus, kAnswerLimit));
    return server::parse_restart_status(text);
  }

  Result<std::optional<RestartStatus>> look(std::uint64_t id) override {
    if (!link_) return look_in_file(id);
    auto message = link_->receive(kLook);
    if (!message.ok()) {
      link_.reset();
      return look_in_file(id);
    }
    if (!*message || (*message)->kind != Kind::kRestartStatus) return std::optional<RestartStatus>();
    ASSIGN_OR_RETURN(RestartStatus status, server::parse_restart_status((*message)->text));
    // A newer run's receipt may be the only one that was sent.
    if (status.receipt_id() > id)
      if (auto ours = from_file(id)) return ours;
    return std::optional(std::move(status));
  }

  Result<json::object> plan(const std::string& binary) override {
    json::object wish;
    if (!binary.empty()) wish["binary"] = binary;
    ASSIGN_OR_RETURN(const std::string text, ask(Kind::kPlan, wish, Kind::kPlan, kPlanLimit));
    ASSIGN_OR_RETURN(RestartStatus answer, server::parse_restart_status(text));
    return std::move(answer.all);
  }

 private:
  Result<std::string> ask(Kind kind, const json::object& wish, Kind answer, Duration limit) {
    ASSIGN_OR_RETURN(SupervisorLink link, SupervisorLink::connect(store_));
    TRY(link.send(kind, json::serialize(wish)));
    for (const auto end = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < end;) {
      ASSIGN_OR_RETURN(const auto message, link.receive(kLook));
      if (!message || message->kind != answer) continue;
      if (const auto said = server::parse_restart_status(message->text); said.ok() && said->all.contains("error"))
        return Error(Errc::kInvalidState, server::text_of(said->all, "error"));
      link_ = std::move(link);
      return message->text;
    }
    return Error(Errc::kDeadline, "the supervisor at --store=" + store_ + " does not answer: see the node's log");
  }
  std::optional<RestartStatus> from_file(std::uint64_t id) const {
    std::ifstream in(store_ + "/RESTARTS.json");
    return find_receipt(std::string((std::istreambuf_iterator<char>(in)), {}), id);
  }
  Result<std::optional<RestartStatus>> look_in_file(std::uint64_t id) const {
    auto found = from_file(id);
    if (!found) std::this_thread::sleep_for(kLook);
    return found;
  }

  const std::string store_;
  std::optional<SupervisorLink> link_;
};

class HttpSource final : public RestartSource {
 public:
  explicit HttpSource(std::string address) : address_(std::move(address)) {}

  Result<RestartStatus> start(const std::string& by, const std::string& binary) override {
    if (!binary.empty())
      return Error(Errc::kInvalidArgument,
                   "--binary goes with --store: no path of a program is taken over the network");
    ASSIGN_OR_RETURN(const HttpAnswer answer,
                     http_post(address_, std::string(kPath) + "?by=" + url_encoded(by), kAnswerLimit));
    if (answer.status != 202) return refused(answer);
    return server::parse_restart_status(answer.body);
  }

  /// A worker that leaves closes its connections: whatever fails is asked again, of the worker that comes.
  Result<std::optional<RestartStatus>> look(std::uint64_t id) override {
    std::this_thread::sleep_for(kLook);
    ASSIGN_OR_RETURN(const HttpAnswer answer, http_get(address_, kPath + ("?id=" + std::to_string(id)), kAnswerLimit));
    if (answer.status == 200 || answer.status == 409) {
      ASSIGN_OR_RETURN(RestartStatus receipt, server::parse_restart_status(answer.body));
      if (receipt.id != id) return Error(Errc::kUnavailable, "this is not the receipt that was asked for");
      receipt.receipt = std::move(receipt.all);
      return std::optional(std::move(receipt));
    }
    if (answer.status != 202) return Error(Errc::kUnavailable, answer.body);
    ASSIGN_OR_RETURN(RestartStatus status, server::parse_restart_status(answer.body));
    return std::optional(std::move(status));
  }

  Result<json::object> plan(const std::string&) override {
    return Error(Errc::kInvalidArgument, "--plan goes with --store: run it on the node's machine");
  }

 private:
  Error refused(const HttpAnswer& answer) const {
    boost::system::error_code error;
    const json::value body = json::parse(answer.body, error);
    const std::string why = !error && body.is_object() ? server::text_of(body.get_object(), "message") : std::string();
    return {Errc::kInvalidState, address_ + " does not restart: " + (why.empty() ? answer.body : why)};
  }
  const std::string address_;
};
}  // namespace

std::optional<RestartStatus> find_receipt(std::string_view restarts_json, std::uint64_t id) {
  const auto file = server::parse_restart_status(restarts_json);
  if (!file.ok()) return std::nullopt;
  for (const json::value& each : server::array_of(file->all, "receipts")) {
    if (!each.is_object() || server::number_of(each.get_object(), "id") != id) continue;
    RestartStatus status;
    status.state = "idle";
    status.id = id;
    status.receipt = each.get_object();
    return status;
  }
  return std::nullopt;
}

std::unique_ptr<RestartSource> restart_by_store(std::string store) {
  return std::make_unique<StoreSource>(std::move(store));
}
std::unique_ptr<RestartSource> restart_by_http(std::string address) {
  return std::make_unique<HttpSource>(std::move(address));
}

}  // namespace outlast::cli
