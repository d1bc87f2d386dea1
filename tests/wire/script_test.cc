// Runs tests/wire/*.txt: against Outlast always, and against PostgreSQL 15 when OUTLAST_WIRE_ORACLE=HOST:PORT says
// where one listens (tests/wire/oracle.sh starts one). README.md describes the format.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "tests/wire/test_server.h"
#include "tests/wire/wire_client.h"

namespace outlast::testing {
namespace {
struct Target {
  std::string host{"127.0.0.1"};
  int port{0};
  bool oracle{false};
};

std::vector<std::string> scripts() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(OUTLAST_WIRE_DIR))
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

class Script {
 public:
  Script(std::string path, Target target) : path_(std::move(path)), target_(std::move(target)) {}
  void run() {
    std::ifstream file(path_);
    std::string line;
    while (std::getline(file, line)) {
      ++number_;
      const std::size_t space = std::min(line.find(' '), line.size());
      const std::string verb = line.substr(0, space), rest = line.substr(std::min(space + 1, line.size()));
      if (verb.empty() || verb[0] == '#') continue;
      SCOPED_TRACE(path_ + ":" + std::to_string(number_));
      step(verb, rest);
      if (::testing::Test::HasFatalFailure()) return;
    }
    settle();
  }

 private:
  void step(const std::string& verb, const std::string& rest) {
    if (verb == "<" || verb == "<outlast" || verb == "<postgres") {
      if (verb == "<" || (verb == "<postgres") == target_.oracle) expected_.push_back(rest);
      if (verb != "<") ASSERT_TRUE(reason_given_) << "a differing line needs a 'differs' line with the reason above it";
      return;
    }
    if (verb == "differs") {
      reason_given_ = !rest.empty();
      return;
    }
    settle();
    if (::testing::Test::HasFatalFailure()) return;
    const auto words = split_words(rest);
    ASSERT_TRUE(words.ok()) << words.error().message;
    if (verb == "on")
      current_ = rest;
    else if (verb == "raw")
      raw();
    else if (verb == "send")
      send(*words);
    else if (verb == "until")
      reason_given_ = false, until_ = rest;
    else
      FAIL() << "no such verb: " << verb;
  }

  WireClient& client(bool start) {
    auto it = clients_.find(current_);
    if (it != clients_.end()) return it->second;
    WireClient& fresh = clients_[current_];
    const auto connected = fresh.connect(target_.host, target_.port);
    EXPECT_TRUE(connected.ok());
    if (start) {
      const auto started = fresh.start("postgres", "postgres");
      EXPECT_TRUE(started.ok()) << started.error().message;
    }
    return fresh;
  }
  void raw() {
    clients_.erase(current_);
    client(false);
  }
  void send(const std::vector<Word>& words) {
    const auto bytes = encode_message(words);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    ASSERT_TRUE(client(true).send(*bytes).ok());
  }

  // Reads what `until` asked for and compares it with the lines collected since.
  void settle() {
    if (until_.empty()) return;
    const std::string until = std::exchange(until_, "");
    std::vector<std::string> got;
    for (bool done = false; !done;) {
      if (until == "byte") {
        const auto byte = client(true).read_raw(1);
        ASSERT_TRUE(byte.ok());
        got.push_back(byte->empty() ? "close" : "byte " + *byte);
        break;
      }
      const auto message = client(true).read();
      ASSERT_TRUE(message.ok()) << message.error().message << " after\n" << joined(got);
      got.push_back(*message ? (*message)->to_line() : "close");
      done = !*message || (*message)->name() == until;
      const bool start_up_noise = got.back().starts_with("ParameterStatus") && until == "ReadyForQuery" &&
                                  std::find(expected_.begin(), expected_.end(), got.back()) == expected_.end() &&
                                  got.back().find("application_name") == std::string::npos;
      if (start_up_noise || got.back().starts_with("BackendKeyData")) got.pop_back();
    }
    EXPECT_EQ(joined(got), joined(expected_));
    expected_.clear();
  }
  static std::string joined(const std::vector<std::string>& lines) {
    std::string all;
    for (const std::string& line : lines) all += line + "\n";
    return all;
  }

  std::string path_;
  Target target_;
  std::map<std::string, WireClient> clients_;
  std::string current_{"main"}, until_;
  std::vector<std::string> expected_;
  bool reason_given_{false};
  int number_{0};
};

class WireScript : public ::testing::TestWithParam<std::string> {};

TEST_P(WireScript, SaysWhatItShould) {
  TestServer server;
  Script(std::string(OUTLAST_WIRE_DIR) + "/" + GetParam() + ".txt", {.port = server.port()}).run();
}

TEST_P(WireScript, IsWhatPostgresSays) {
  const char* oracle = std::getenv("OUTLAST_WIRE_ORACLE");
  if (oracle == nullptr) GTEST_SKIP() << "set OUTLAST_WIRE_ORACLE=HOST:PORT, or run tests/wire/oracle.sh";
  const std::string where = oracle;
  const std::size_t colon = where.find(':');
  Script(std::string(OUTLAST_WIRE_DIR) + "/" + GetParam() + ".txt",
         {.host = where.substr(0, colon), .port = std::atoi(where.c_str() + colon + 1), .oracle = true})
      .run();
}

INSTANTIATE_TEST_SUITE_P(Wire, WireScript, ::testing::ValuesIn(scripts()), [](const auto& info) { return info.param; });
}  // namespace
}  // namespace outlast::testing
