// ingest status.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>

#include "base/parse.h"
#include "cli/groups.h"
#include "cli/http_get.h"
#include "cli/local_cluster.h"
#include "cli/table.h"
#include "server/restart_status.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
namespace json = boost::json;
using server::number_of;
using server::object_of;
using server::text_of;

struct IngestOptions {
  std::string store, host, format{"table"};
};

Result<std::string> http_address(const IngestOptions& o) {
  if (!o.host.empty()) return o.host;
  std::ifstream in(o.store + "/NODE.json");
  const auto facts = parse_node_facts(std::string((std::istreambuf_iterator<char>(in)), {}));
  if (facts.ok()) return facts->http_addr;
  return Error(Errc::kInvalidArgument, "there is no node at --store=" + o.store +
                                           ": name a store that is in use, or its HTTP address as --host=HOST:PORT");
}

void print_inputs(const json::object& status) {
  Table table({"input", "socket", "records", "kernel_drops", "refused", "malformed", "connections", "longest_gap_ms"});
  for (const json::value& each : server::array_of(status, "inputs")) {
    if (!each.is_object()) continue;
    const json::object& input = each.get_object();
    const auto number = [&input](const char* key) { return std::to_string(number_of(input, key)); };
    table.add({text_of(input, "name"), text_of(input, "socket"), number("records"), number("kernel_drops"),
               number("refused"), number("malformed"), number("connections"), number("longest_gap_ms")});
  }
  table.print("table");
}

void print_sinks(const json::object& status) {
  Table table({"sink", "written", "held", "held_bytes", "replayed", "dropped", "set_aside", "retries", "trouble"});
  for (const json::value& each : server::array_of(status, "sinks")) {
    if (!each.is_object()) continue;
    const json::object& sink = each.get_object();
    const auto records = [&sink](const char* key) {
      return std::to_string(number_of(object_of(sink, key), "records"));
    };
    const std::string trouble =
        text_of(sink, "trouble").empty() ? text_of(sink, "last_error") : text_of(sink, "trouble");
    table.add({text_of(sink, "name"), records("written"), records("held"),
               format_bytes(number_of(object_of(sink, "held"), "bytes")), records("replayed"), records("dropped"),
               records("set_aside"), std::to_string(number_of(sink, "retries")), trouble.empty() ? "-" : trouble});
  }
  table.print("table");
}

void print_unclaimed(const json::object& status) {
  for (const json::value& each : server::array_of(status, "unclaimed")) {
    if (!each.is_object()) continue;
    const json::object& buffer = each.get_object();
    const json::object held = object_of(buffer, "held");
    std::printf("%s holds %llu records (%s) of the sink %s, which is not configured any more\n",
                text_of(buffer, "path").c_str(), static_cast<unsigned long long>(number_of(held, "records")),
                format_bytes(number_of(held, "bytes")).c_str(), text_of(buffer, "sink").c_str());
  }
}

int ingest_status(const IngestOptions& o) {
  const auto address = http_address(o);
  if (!address.ok()) return fail_with(address.error());
  const auto answer = http_get(*address, "/api/ingest", 10s);
  if (!answer.ok()) return fail_with(answer.error());
  if (o.format == "json") {
    std::fputs(answer->body.c_str(), stdout);
    return kDone;
  }
  boost::system::error_code error;
  const json::value status = json::parse(answer->body, error);
  if (error || !status.is_object()) return fail_with(Error(Errc::kProtocolViolation, "the node's answer is no JSON"));
  if (const json::value* only = status.get_object().if_contains("source_only"); only != nullptr && *only == true)
    std::puts(
        "source-only: what the inputs take is kept, and nothing goes to a sink until SIGWINCH or the end of a restart");
  print_inputs(status.get_object());
  print_sinks(status.get_object());
  if (const auto lost = number_of(object_of(status.get_object(), "unmatched"), "records"); lost > 0)
    std::printf("%llu records had a tag that no sink matches\n", static_cast<unsigned long long>(lost));
  print_unclaimed(status.get_object());
  for (const json::value& each : server::array_of(status.get_object(), "inputs"))
    if (each.is_object() && !text_of(each.get_object(), "warning").empty())
      std::printf("%s: %s\n", text_of(each.get_object(), "name").c_str(),
                  text_of(each.get_object(), "warning").c_str());
  return kDone;
}
}  // namespace

void add_ingest(Commands& all) {
  auto o = std::make_shared<IngestOptions>();
  all.push_back(
      {.path = "ingest status",
       .summary = "Show a node's inputs, what they took, and what waits for its sinks",
       .details = "docs/ingest.md says what each number means.\n\n  outlast ingest status --store=/data/n1",
       .options = {{.name = "--store",
                    .value_name = "DIR",
                    .target = &o->store,
                    .help = "the store of the node on this machine"},
                   {.name = "--host", .value_name = "HOST:PORT", .target = &o->host, .help = "or its --http-addr"},
                   {.name = "--format",
                    .value_name = "FORMAT",
                    .target = &o->format,
                    .help = "how to print it",
                    .choices = {"table", "json"}}},
       .run = [o] { return ingest_status(*o); }});
}

}  // namespace outlast::cli
