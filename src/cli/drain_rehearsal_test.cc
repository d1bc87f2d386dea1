#include "cli/drain_rehearsal.h"

#include <gtest/gtest.h>

#include "cli/command.h"

namespace outlast::cli {
namespace {
using lifecycle::Felt;
using lifecycle::StatementCounts;
using namespace std::chrono_literals;

std::string metrics(double fast, double all, double errors) {
  return "# HELP outlast_sql_statement_seconds_bucket x\n"
         "outlast_sql_statement_seconds_bucket{le=\"0.001000\"} " +
         std::to_string(fast) + "\noutlast_sql_statement_seconds_bucket{le=\"+Inf\"} " + std::to_string(all) +
         "\noutlast_sql_statement_seconds_bucket{le=\"0.010000\"} " + std::to_string(all) +
         "\noutlast_sql_errors_total{sqlstate=\"40001\"} " + std::to_string(errors) + "\noutlast_ready 1\n";
}

TEST(DrainRehearsal, TellsRateAndQuantilesOfATimeSpan) {
  const auto from = parse_statement_counts(metrics(10, 20, 1)), to = parse_statement_counts(metrics(910, 1020, 3));
  ASSERT_TRUE(from.ok() && to.ok());
  StatementCounts doubled = *to;
  const Felt felt = felt_between(*from, *to, 10s);
  EXPECT_EQ(felt.statements, 1000);
  EXPECT_EQ(felt.per_second, 100);
  EXPECT_EQ(felt.errors, 2);
  EXPECT_DOUBLE_EQ(felt.p50_ms, 1);
  EXPECT_DOUBLE_EQ(felt.p99_ms, 10);
  doubled.add(*to);
  EXPECT_EQ(doubled.up_to.back().second, 2040);
  EXPECT_EQ(felt_between(*to, *to, 10s).p99_ms, 0) << "no statements, no times";
}

TEST(DrainRehearsal, AGatewayWithoutTimesIsNamedAsSuch) {
  EXPECT_EQ(parse_statement_counts("outlast_ready 1\n").error().code, Errc::kProtocolViolation);
  EXPECT_EQ(parse_statement_counts("").error().code, Errc::kProtocolViolation);
}

TEST(DrainRehearsal, WaitsForTheNodesOwnEndAndShowsBothTimes) {
  int asked = 0, read = 0;
  std::string out;
  RehearsalPorts ports;
  ports.ask = [&](const proto::DrainRequest& request) -> Result<proto::DrainReply> {
    EXPECT_EQ(request.action(), asked == 0 ? proto::DrainRequest::REHEARSE : proto::DrainRequest::STATUS);
    if (++asked == 2) return Error(Errc::kUnavailable, "one lost answer changes nothing");
    proto::DrainReply reply;
    reply.mutable_status()->set_phase(asked < 4 ? "unready" : "serving");
    if (asked == 3) reply.mutable_status()->set_leases_moved(7);
    return reply;
  };
  ports.statements = [&] {
    ++read;
    return parse_statement_counts(metrics(100.0 * read, 100.0 * read, 0));
  };
  ports.pause = [](Duration) { return false; };
  ports.out = [&](const std::string& text) { out += text; };
  ports.err = [](const std::string&) {};
  EXPECT_EQ(rehearse({.name = "node 2", .time = 1s}, ports), kDone);
  EXPECT_NE(out.find("7 left"), std::string::npos) << out;
  EXPECT_NE(out.find("before"), std::string::npos);
  EXPECT_NE(out.find("during"), std::string::npos);
  asked = 1;
  ports.pause = [](Duration) { return true; };
  EXPECT_EQ(rehearse({.name = "node 2", .time = 1s}, ports), kInterrupted);
}

}  // namespace
}  // namespace outlast::cli
