#include "cli/demo/records.h"

#include <arpa/inet.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <iterator>
#include <sstream>

#include "cli/http_get.h"
#include "cli/pg_connection.h"
#include "server/restart_status.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
namespace json = boost::json;
constexpr auto kSetupTimeout = 30s;
constexpr auto kStatusTimeout = 500ms;

/// Two inputs of one protocol need two addresses: a port is the kernel's choice.
const char* host_of(RecordKind kind) {
  return kind == RecordKind::kSyslogUdp || kind == RecordKind::kSyslogTcp ? "127.0.0.2" : "127.0.0.1";
}

std::string input_toml(RecordKind kind) {
  const bool syslog = kind == RecordKind::kSyslogUdp || kind == RecordKind::kSyslogTcp;
  const char* type = syslog ? "syslog" : to_string(kind);
  const char* scheme = is_datagram(kind) ? "udp" : kind == RecordKind::kHttp ? "http" : "tcp";
  return fmt::format("[[input]]\ntype = \"{}\"\nname = \"{}\"\nlisten = \"{}://{}:0\"\ntag = \"{}\"\n{}\n", type,
                     to_string(kind), scheme, host_of(kind),
                     syslog                      ? "syslog"
                     : kind == RecordKind::kHttp ? "http"
                                                 : "lines",
                     kind == RecordKind::kSyslogTcp ? "framing = \"octet-counted\"\n" : "");
}

Result<PgReply> run(PgConnection& sql, const std::string& text, Duration timeout) {
  PgReply reply = sql.run(text, timeout);
  if (reply.ok) return reply;
  return Error(Errc::kUnavailable, fmt::format("\"{}\" failed: {} {}", text, reply.sqlstate, reply.message));
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void raise(std::optional<double>& most, double value) {
  most = std::max(most.value_or(0), value);
}
}  // namespace

DemoRecords::DemoRecords(const LocalCluster& cluster, DemoRecordsOptions options)
    : cluster_(cluster), options_(std::move(options)) {}

std::string DemoRecords::file(int node) const {
  return cluster_.store(node) + ".records";
}

/// Half a second in a buffer is as long as anybody waits for a record, and few transactions for the table.
std::string DemoRecords::configuration(int node) const {
  const auto buffer = [&](const char* of) {
    std::string text = "[sink.buffer]\nflush_interval = \"500ms\"\n";
    if (options_.lasting) text += fmt::format("type = \"file\"\npath = \"{}.buffer/{}\"\n", cluster_.store(node), of);
    return text + "\n";
  };
  std::string text;
  for (const RecordKind kind : kRecordKinds) text += input_toml(kind);
  text +=
      fmt::format("[[sink]]\ntype = \"table\"\ndatabase = \"{0}\"\ntable = \"{0}\"\n{1}", kDatabase, buffer("table"));
  if (options_.lasting) text += fmt::format("[[sink]]\ntype = \"file\"\npath = \"{}\"\n{}", file(node), buffer("file"));
  return text;
}

std::vector<std::string> DemoRecords::start_args(int node) const {
  const std::string path = cluster_.store(node) + ".toml";
  std::ofstream(path) << configuration(node);
  return {"--config=" + path};
}

/// Its key says in which order the rows came.
Result<void> DemoRecords::prepare() {
  ASSIGN_OR_RETURN(PgConnection any, PgConnection::connect(cluster_.sql_url(0), "", kSetupTimeout));
  TRY(run(any, fmt::format("CREATE DATABASE {}", kDatabase), kSetupTimeout));
  ASSIGN_OR_RETURN(PgConnection sql, PgConnection::connect(cluster_.sql_url(0), kDatabase, kSetupTimeout));
  TRY(run(sql,
          fmt::format("CREATE TABLE {} (id bigserial PRIMARY KEY, time timestamptz, host text, tag text, fields json, "
                      "error text)",
                      kDatabase),
          kSetupTimeout));
  for (int i = 0; i < options_.nodes; ++i) TRY(find_inputs(i));
  return {};
}

Result<json::object> DemoRecords::status(int node) const {
  ASSIGN_OR_RETURN(const NodeFacts facts, cluster_.facts(node));
  ASSIGN_OR_RETURN(const HttpAnswer answer, http_get(facts.http_addr, "/api/ingest", kStatusTimeout));
  boost::system::error_code error;
  const json::value parsed = json::parse(answer.body, error);
  if (answer.status == 200 && parsed.is_object()) return parsed.as_object();
  return Error(Errc::kProtocolViolation, fmt::format("node {} does not say what its inputs do", node + 1));
}

Result<void> DemoRecords::find_inputs(int node) {
  ASSIGN_OR_RETURN(const json::object all, status(node));
  const json::array inputs = server::array_of(all, "inputs");
  for (const RecordKind kind : kRecordKinds) {
    const auto found = std::ranges::find_if(
        inputs, [&](const json::value& one) { return server::text_of(one.as_object(), "name") == to_string(kind); });
    const auto port = found == inputs.end() ? 0 : server::number_of(found->as_object(), "port");
    if (port == 0) return Error(Errc::kInvalidState, fmt::format("node {} has no input {}", node + 1, to_string(kind)));
    inputs_.push_back({.kind = kind, .node = node, .host = host_of(kind), .port = static_cast<std::uint16_t>(port)});
  }
  return {};
}

void DemoRecords::begin() {
  std::vector<SenderPlan> plans = inputs_;
  const int first = static_cast<int>(parts_.size() * inputs_.size());
  for (std::size_t i = 0; i < plans.size(); ++i) plans[i].id = first + static_cast<int>(i);
  Part& part = parts_.emplace_back();
  part.drops_before = kernel_drops();
  part.senders = std::make_unique<RecordSenders>(std::move(plans), options_.rate / static_cast<double>(inputs_.size()));
  part.senders->start();
}

void DemoRecords::end(std::uint64_t wanted) {
  Part& part = parts_.back();
  part.senders->stop();
  part.wanted = wanted;
  part.drops = kernel_drops();
  look();
}

void DemoRecords::note_gap(double ms) {
  if (!parts_.empty()) raise(parts_.back().longest_gap_ms, ms);
}

void DemoRecords::look() {
  for (int i = 0; i < options_.nodes; ++i) {
    const auto all = status(i);
    if (!all.ok()) continue;  // between two workers
    for (const json::value& input : server::array_of(*all, "inputs"))
      if (const auto* gap = input.as_object().if_contains("longest_gap_ms"); gap != nullptr && gap->is_number())
        note_gap(gap->to_number<double>());
  }
}

std::string DemoRecords::progress() const {
  if (parts_.empty()) return "";
  RecordsReport all;
  for (const auto& [plan, counts] : parts_.back().senders->counts()) all.kinds[plan.kind].counts.add(counts);
  const SenderCounts c = all.counts();
  return fmt::format("records {} sent, {} errors, {} connections reset, longest {:.1f} ms without a read", c.sent,
                     c.send_errors, c.resets, parts_.back().longest_gap_ms.value_or(0));
}

std::optional<std::uint64_t> DemoRecords::kernel_drops() const {
  const std::string table = read_file("/proc/net/udp");
  std::uint64_t all = 0;
  for (const SenderPlan& input : inputs_) {
    if (!is_datagram(input.kind)) continue;
    const auto drops = drops_of_socket(table, input.host, input.port);
    if (!drops) return std::nullopt;
    all += *drops;
  }
  return all;
}

std::optional<std::uint64_t> drops_of_socket(const std::string& table, const std::string& host, std::uint16_t port) {
  in_addr address{};
  ::inet_pton(AF_INET, host.c_str(), &address);
  const std::string wanted = fmt::format("{:08X}:{:04X}", address.s_addr, port);
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream columns(line);
    const std::vector<std::string> words{std::istream_iterator<std::string>(columns), {}};
    if (words.size() > 2 && words[1] == wanted) return std::strtoull(words.back().c_str(), nullptr, 10);
  }
  return std::nullopt;
}

}  // namespace outlast::cli
