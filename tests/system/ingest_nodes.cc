#include "support/ingest_nodes.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <cstdlib>
#include <fstream>

#include "cli/http_get.h"

namespace outlast::testing_support {
namespace {
using namespace std::chrono_literals;
namespace json = boost::json;
constexpr auto kPatience = 30s;
}  // namespace

Numbers numbers_in(const std::string& text) {
  Numbers found;
  for (std::size_t at = text.find('='); at != std::string::npos; at = text.find('=', at + 1)) {
    std::size_t word = at;
    while (word > 0 && (std::isalnum(static_cast<unsigned char>(text[word - 1])) != 0)) --word;
    if (word < at && at + 1 < text.size() && std::isdigit(static_cast<unsigned char>(text[at + 1])) != 0)
      found[text.substr(word, at - word)].push_back(std::atol(text.c_str() + at + 1));
  }
  return found;
}

std::string IngestNodes::table_sink() {
  return "[[sink]]\ntype = \"table\"\nmatch = \"**\"\ndatabase = \"defaultdb\"\ntable = \"logs\"\n"
         "[sink.buffer]\nflush_interval = \"50ms\"\n";
}

std::string IngestNodes::input(const std::string& type, const std::string& name, const std::string& listen,
                               const std::string& more) {
  return "[[input]]\ntype = \"" + type + "\"\nname = \"" + name + "\"\nlisten = \"" + listen + ":0\"\n" + more + "\n";
}

void IngestNodes::configure(const std::string& config) {
  std::ofstream(dir() + "/node.toml", std::ios::trunc) << config;
}

void IngestNodes::start_with(const std::string& config, const std::string& program) {
  configure(config);
  use_start({"--config=" + dir() + "/node.toml"}, program);
  ASSERT_NO_FATAL_FAILURE(start_nodes(1));
}

json::object IngestNodes::status(const std::string& list, const std::string& name) {
  const auto facts = cluster().facts(0);
  if (!facts.ok()) return {};
  const auto answer = cli::http_get(facts->http_addr, "/api/ingest", 5s);
  boost::system::error_code error;
  const json::value parsed = answer.ok() ? json::parse(answer->body, error) : json::value();
  if (!parsed.is_object() || !parsed.get_object().contains(list)) return {};
  for (const json::value& one : parsed.at(list).as_array())
    if (one.at("name").as_string() == name) return one.as_object();
  return {};
}

int IngestNodes::port(const std::string& input) {
  int port = 0;
  const auto read = cluster().wait_until("input " + input + " is read", 20s, [&] {
    const json::object status = input_status(input);
    port = status.empty() ? 0 : status.at("port").to_number<int>();
    return port != 0;
  });
  EXPECT_TRUE(read.ok()) << read.error().message;
  return port;
}

void IngestNodes::expect_completed(const json::object& receipt) {
  EXPECT_EQ(outcome(receipt), "completed") << json::serialize(receipt);
  const json::value* const inputs = receipt.if_contains("inputs");
  ASSERT_NE(inputs, nullptr) << json::serialize(receipt);
  for (const char* none : {"kernel_drops", "order_breaks"})
    EXPECT_EQ(inputs->at(none).to_number<int>(), 0) << json::serialize(receipt);
}

Numbers IngestNodes::stored(const std::string& input) {
  std::string all;
  const std::string query = "SELECT coalesce(fields ->> 'message', fields ->> 'raw') FROM logs WHERE tag = '";
  for (const auto& row : eventually(0, "defaultdb", query + input + "'").rows) all += row[0].value_or("") + "\n";
  return numbers_in(all);
}

void IngestNodes::expect_stored(const std::string& input, long sent, const std::string& word) {
  expect_all_once(input + " " + word, sent, [&] { return stored(input)[word]; });
}

void IngestNodes::expect_all_once(const std::string& what, long sent, const std::function<std::vector<long>()>& read) {
  EXPECT_GT(sent, 0) << what;
  std::vector<long> there, all;
  for (long i = 0; i < sent; ++i) all.push_back(i);
  const auto waited = cluster().wait_until("every record of " + what, kPatience, [&] {
    there = read();
    std::ranges::sort(there);
    return std::ranges::includes(there, all);
  });
  std::vector<long> wrong;
  std::ranges::set_symmetric_difference(there, all, std::back_inserter(wrong));
  EXPECT_TRUE(waited.ok() && wrong.empty())
      << what << ": " << there.size() << " are there of " << sent << "; lost or "
      << "more than once: " << wrong.size() << ", as " << (wrong.empty() ? -1 : wrong.front());
}

}  // namespace outlast::testing_support
