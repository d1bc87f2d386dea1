#include "server/restart_api.h"

#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_future.hpp>

namespace outlast::server {
namespace {
namespace asio = boost::asio;

class RestartApiTest : public testing::Test {
 protected:
  http::Response ask(const std::string& method, std::map<std::string, std::string> query = {}, std::string body = "") {
    asio::io_context context;
    http::Request request;
    request.method = method, request.path = "/api/x";
    request.query = std::move(query), request.body = std::move(body);
    auto answer = asio::co_spawn(context, answer_restart(ports_, std::move(request)), asio::use_future);
    context.run();
    return answer.get();
  }
  std::string status_ = R"({"state":"idle","id":6,"queued":false,"receipt":{"id":6,"outcome":"completed"}})";
  std::string taken_ = R"({"state":"trial","id":7,"queued":false})";
  Result<std::string> receipt_ = std::string(R"({"id":7,"outcome":"completed"})");
  std::vector<std::string> wishes_;
  std::vector<std::uint64_t> waited_;
  std::shared_ptr<const RestartPorts> ports_ = std::make_shared<const RestartPorts>(
      RestartPorts{.restart =
                       [this](const std::string& text, Callback<std::string> done) {
                         wishes_.push_back(text);
                         done(taken_);
                       },
                   .status = [this] { return status_; },
                   .when_finished =
                       [this](std::uint64_t id, Callback<std::string> done) {
                         waited_.push_back(id);
                         done(receipt_);
                       },
                   .reload = [](Callback<std::string> done) { done(std::string("{}")); }});
};

TEST_F(RestartApiTest, APostStartsAndNamesItsRun) {
  const auto answer = ask("POST", {{"by", "ops"}});
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(answer.body, "{\"state\":\"trial\",\"id\":7,\"queued\":false,\"accepted\":7}\n");
  EXPECT_EQ(wishes_, std::vector<std::string>{R"({"by":"ops"})"});
  taken_ = R"({"state":"sessions","id":7,"queued":true})";
  EXPECT_NE(ask("POST").body.find("\"accepted\":8"), std::string::npos) << "joined to the one more run";
  EXPECT_EQ(wishes_.back(), R"({"by":"POST /api/x"})");
}

TEST_F(RestartApiTest, WaitAnswersTheReceiptOfThatRun) {
  const auto answer = ask("POST", {{"wait", "1"}});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "{\"id\":7,\"outcome\":\"completed\"}\n");
  EXPECT_EQ(waited_, std::vector<std::uint64_t>{7});
  receipt_ = std::string(R"({"id":7,"outcome":"refused","why":"x"})");
  EXPECT_EQ(ask("POST", {{"wait", "1"}}).status, 409);
  receipt_ = Error(Errc::kDeadline, "not yet");
  const auto later = ask("POST", {{"wait", "1"}});
  EXPECT_EQ(later.status, 202);
  EXPECT_NE(later.body.find("\"accepted\":7,\"finished\":false"), std::string::npos) << later.body;
}

TEST_F(RestartApiTest, AGetShowsAndStartsNothing) {
  EXPECT_EQ(ask("GET").body, status_ + "\n");
  EXPECT_EQ(ask("GET", {{"wait", "1"}}).body, status_ + "\n") << "nothing to wait for";
  EXPECT_TRUE(wishes_.empty());
  EXPECT_TRUE(waited_.empty());
}

TEST_F(RestartApiTest, AnIdGetsItsReceiptOrItsState) {
  EXPECT_EQ(ask("GET", {{"id", "6"}}).body, "{\"id\":6,\"outcome\":\"completed\"}\n");
  EXPECT_EQ(ask("GET", {{"id", "7"}}).status, 404);
  status_ = R"({"state":"sessions","id":7,"queued":true,"receipt":{"id":6,"outcome":"completed"}})";
  EXPECT_EQ(ask("GET", {{"id", "7"}}).status, 202);
  EXPECT_EQ(ask("GET", {{"id", "8"}}).status, 202) << "it will be";
  EXPECT_TRUE(waited_.empty());
  EXPECT_EQ(ask("GET", {{"id", "8"}, {"wait", "1"}}).status, 200);
  receipt_ = Error(Errc::kNotFound, "too long ago");
  EXPECT_EQ(ask("GET", {{"id", "2"}}).status, 404);
  EXPECT_EQ(waited_, (std::vector<std::uint64_t>{8, 2}));
}

TEST_F(RestartApiTest, NoProgramComesOverTheNetwork) {
  const auto answer = ask("POST", {{"binary", "/tmp/evil"}});
  EXPECT_EQ(answer.status, 403);
  EXPECT_NE(answer.body.find("--binary"), std::string::npos) << answer.body;
  EXPECT_EQ(ask("POST", {}, R"({"binary":"/tmp/evil"})").status, 400);
  EXPECT_EQ(ask("GET", {{"binary", "x"}}).status, 403);
  EXPECT_TRUE(wishes_.empty());
}

TEST_F(RestartApiTest, NonsenseIsRefusedAndSilenceIsNotAnOk) {
  for (const auto& query :
       std::vector<std::map<std::string, std::string>>{{{"wait", "yes"}}, {{"id", "3"}}, {{"x", ""}}})
    EXPECT_EQ(ask("POST", query).status, 400);
  EXPECT_EQ(ask("GET", {{"id", "0"}}).status, 400);
  status_ = "";
  EXPECT_EQ(ask("GET").status, 503);
  taken_ = "no json";
  EXPECT_GE(ask("POST").status, 400);
}

}  // namespace
}  // namespace outlast::server
