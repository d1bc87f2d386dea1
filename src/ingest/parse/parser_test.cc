#include "ingest/parse/parser.h"

#include <gtest/gtest.h>

#include <boost/json/serialize.hpp>

namespace outlast::ingest {
namespace {
constexpr std::int64_t kReceived = 1'700'000'000'000'000;

Record decode(const ParserOptions& options, std::string_view bytes) {
  Decoder decoder;
  EXPECT_TRUE(decoder.add("t", options).ok());
  return decoder.decode("t", {kReceived, "192.0.2.7:514", bytes});
}

std::string fields(const Record& record) {
  return boost::json::serialize(record.fields);
}

TEST(NoParser, TakesTheWholeRecordAsItsMessage) {
  const Record record = Decoder().decode("app.x", {kReceived, "[2001:db8::1]:514", "any thing"});
  EXPECT_EQ(record.time_micros, kReceived);
  EXPECT_EQ(record.host, "2001:db8::1");
  EXPECT_EQ(record.tag, "app.x");
  EXPECT_EQ(fields(record), R"({"message":"any thing"})");
}

TEST(JsonParser, TakesFieldsAndTheirTime) {
  const Record record = decode({.kind = ParserKind::kJson}, R"({"a":1,"time":"2003-10-11T22:14:15.003Z"})");
  EXPECT_EQ(record.time_micros, 1'065'910'455'003'000);
  EXPECT_EQ(record.host, "192.0.2.7");
  EXPECT_EQ(fields(record), R"({"a":1,"time":"2003-10-11T22:14:15.003Z"})");
  EXPECT_EQ(decode({.kind = ParserKind::kJson, .time_key = "at"}, R"({"at":12.5})").time_micros, 12'500'000);
  EXPECT_EQ(decode({.kind = ParserKind::kJson}, R"({"time":"soon"})").time_micros, kReceived);
}

TEST(JsonParser, KeepsWhatIsNoObjectWhole) {
  for (const char* bytes : {"", "{", "[1]", "{\"a\":}", "{} x", "plain"}) {
    const Record record = decode({.kind = ParserKind::kJson}, bytes);
    EXPECT_EQ(record.raw, bytes);
    EXPECT_NE(record.error, "");
    EXPECT_TRUE(record.fields.empty());
  }
}

TEST(RegexpParser, TakesNamedGroupsInBothSpellings) {
  for (const char* expression :
       {R"(/^(?<host>\S+) (?<time>\S+) (?<text>.*)$/)", R"(^(?P<host>\S+) (?P<time>\S+) (?P<text>.*)$)"}) {
    const Record record = decode({.kind = ParserKind::kRegexp, .expression = expression}, "web1 12 GET /");
    EXPECT_EQ(record.host, "web1");
    EXPECT_EQ(record.time_micros, 12'000'000);
    EXPECT_EQ(record.fields.at("text").as_string(), "GET /");
  }
  const Record other = decode({.kind = ParserKind::kRegexp, .expression = "a(?<b>b)?(?<c>c)"}, "ac");
  EXPECT_EQ(fields(other), R"({"c":"c"})") << "a group that took no part is no field";
}

TEST(RegexpParser, RefusesWhatItCannotUse) {
  EXPECT_EQ(make_parser({.kind = ParserKind::kRegexp, .expression = "("}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(make_parser({.kind = ParserKind::kRegexp, .expression = "(.*)"}).error().code, Errc::kInvalidArgument);
  EXPECT_EQ(decode({.kind = ParserKind::kRegexp, .expression = "^(?<a>x)$"}, "y").raw, "y");
}

TEST(LogfmtParser, TakesPairsQuotesAndFlags) {
  const Record record = decode({.kind = ParserKind::kLogfmt}, R"(level=info  msg="a \"b\"\nc" empty= dry host=web1)");
  EXPECT_EQ(fields(record), R"({"level":"info","msg":"a \"b\"\nc","empty":"","dry":true,"host":"web1"})");
  EXPECT_EQ(record.host, "web1");
  for (const char* bytes : {"", "=x", "a=\"x", "a\"b", "   "})
    EXPECT_EQ(decode({.kind = ParserKind::kLogfmt}, bytes).raw, bytes) << bytes;
}

TEST(SyslogParser, ReadsTheExamplesOfRfc5424) {
  const ParserOptions syslog{.kind = ParserKind::kSyslog};
  const Record first = decode(
      syslog,
      "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \xef\xbb\xbf'su root' failed for lonvick on "
      "/dev/pts/8");
  EXPECT_EQ(first.time_micros, 1'065'910'455'003'000);
  EXPECT_EQ(first.host, "mymachine.example.com");
  EXPECT_EQ(fields(first), R"({"facility":4,"severity":2,"app_name":"su","msg_id":"ID47",)"
                           R"("message":"'su root' failed for lonvick on /dev/pts/8"})");
  const Record second = decode(
      syslog, "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time to make the do-nuts.");
  EXPECT_EQ(second.time_micros, 1'061'727'255'000'003);
  EXPECT_EQ(fields(second), R"({"facility":20,"severity":5,"app_name":"myproc","proc_id":"8710",)"
                            R"("message":"%% It's time to make the do-nuts."})");
  const Record third =
      decode(syslog,
             "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" "
             "eventSource=\"Application\" eventID=\"1011\"] \xef\xbb\xbf"
             "An application event log entry...");
  EXPECT_EQ(third.fields.at("message").as_string(), "An application event log entry...");
  EXPECT_EQ(boost::json::serialize(third.fields.at("structured_data")),
            R"({"exampleSDID@32473":{"iut":"3","eventSource":"Application","eventID":"1011"}})");
  const Record fourth =
      decode(syslog,
             "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut=\"3\" "
             "eventSource=\"Application\" eventID=\"1011\"][examplePriority@32473 class=\"high\"]");
  EXPECT_EQ(fourth.fields.at("message").as_string(), "");
  EXPECT_EQ(boost::json::serialize(fourth.fields.at("structured_data").at("examplePriority@32473")),
            R"({"class":"high"})");
}

TEST(SyslogParser, UnescapesStructuredDataOnlyWhereRfc5424Says) {
  const Record record = decode({.kind = ParserKind::kSyslog}, R"(<0>1 - - - - - [a b="\"\\\]\x"] m)");
  EXPECT_EQ(record.fields.at("structured_data").at("a").at("b").as_string(), R"("\]\x)");
  EXPECT_EQ(record.time_micros, kReceived);
  EXPECT_EQ(record.host, "192.0.2.7");
}

TEST(SyslogParser, KeepsMalformedOnesWhole) {
  for (const char* bytes :
       {"", "no priority", "<>x", "<192>x", "<1x>y", "<1", "<34>1 ", "<34>1 yesterday h a p m - text",
        "<34>1 2003-10-11T22:14:15Z h a p", "<34>1 - h a p m [a", "<34>1 - h a p m [a b]", "<34>1 - h a p m [a b=\"c]",
        "<34>1 - h a p m [a]x", "<34>1 - h a p m x", "<34>1 2003-02-29T00:00:00Z h a p m -"})
    EXPECT_EQ(decode({.kind = ParserKind::kSyslog}, bytes).raw, bytes) << bytes;
}

TEST(SyslogParser, ReadsRfc3164InItsManyForms) {
  const ParserOptions syslog{.kind = ParserKind::kSyslog};
  const auto time = [&](std::string_view bytes) { return decode(syslog, bytes).time_micros; };
  const Record classic = decode(syslog, "<34>Oct 11 22:14:15 mymachine su[230]: 'su root' failed");
  EXPECT_EQ(classic.host, "mymachine");
  EXPECT_EQ(classic.time_micros, 1'697'062'455'000'000) << "2023, next to when it came";
  EXPECT_EQ(fields(classic),
            R"({"facility":4,"severity":2,"app_name":"su","proc_id":"230","message":"'su root' failed"})");
  const Record no_host = decode(syslog, "<13>Oct  1 22:14:15 su[230]: failed");
  EXPECT_EQ(no_host.host, "192.0.2.7");
  EXPECT_EQ(no_host.fields.at("proc_id").as_string(), "230");
  const Record no_process = decode(syslog, "<13>Oct  1 22:14:15 web1 su: failed");
  EXPECT_EQ(no_process.host, "web1");
  EXPECT_FALSE(no_process.fields.contains("proc_id"));
  EXPECT_EQ(decode(syslog, "<13>Use the BFG!").fields.at("message").as_string(), "Use the BFG!");
  EXPECT_EQ(time("<13>Oct 11 2003 22:14:15 web1 su: x"), 1'065'910'455'000'000);
  EXPECT_EQ(time("<13>2003 Oct 11 22:14:15.003 web1 su: x"), 1'065'910'455'003'000);
  EXPECT_EQ(time("<13>2003-10-11T22:14:15.003+00:00 web1 su: x"), 1'065'910'455'003'000);
  const Record zone = decode(syslog, "<0>Oct 11 22:14:15 CST 2003 mymachine myproc[10]: %% It's time");
  EXPECT_EQ(zone.time_micros, 1'065'910'455'000'000);
  EXPECT_EQ(zone.host, "mymachine");
}

TEST(SyslogParser, FindsTheYearAcrossNewYear) {
  Decoder decoder;
  ASSERT_TRUE(decoder.add("t", {.kind = ParserKind::kSyslog, .utc_offset = 3600}).ok());
  const std::int64_t new_year = 1'704'067'200'000'000;  // 2024-01-01T00:00:00Z
  EXPECT_EQ(decoder.decode("t", {new_year + 60'000'000, "", "<1>Dec 31 23:59:00 h a: x"}).time_micros,
            new_year - 3'660'000'000);
  EXPECT_EQ(decoder.decode("t", {new_year - 60'000'000, "", "<1>Jan  1 01:00:05 h a: x"}).time_micros,
            new_year + 5'000'000);
  EXPECT_EQ(decoder.decode("t", {new_year, "", "<1>Feb 29 01:00:00 h a: x"}).time_micros,
            new_year + 59 * 86'400'000'000);
}

TEST(RecordLine, IsOneLineOfValidJsonWhateverTheRecordHolds) {
  Record record{.time_micros = 1'065'910'455'003'000, .host = "h", .tag = "t"};
  record.fields["message"] = std::string_view("a\n\"\0\xff\xed\xa0\x80é", 10);
  record.fields["n"] = boost::json::value{{"deep", {1, "\xc0", nullptr, true}}};
  EXPECT_EQ(to_json_line(record),
            "{\"time\":\"2003-10-11T22:14:15.003000Z\",\"host\":\"h\",\"tag\":\"t\",\"message\":\"a\\n\\\"\\u0000"
            "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdé\",\"n\":{\"deep\":[1,\"\xef\xbf\xbd\",null,true]}}");
}

TEST(RecordText, IsUtf8WithoutNulWhateverTheRecordHolds) {
  EXPECT_EQ(as_text(std::string("a\0\xff\xed\xa0é\xc3", 8)),
            "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdé\xef\xbf\xbd");
  EXPECT_EQ(as_text("日本"), "日本");
  EXPECT_EQ(as_text(""), "");
  std::string json;
  append_json(json, {{"a", {{"b", "\xff\n"}}}, {"c", {1, nullptr}}, {"d", boost::json::object()}});
  EXPECT_EQ(json, "{\"a\":{\"b\":\"\xef\xbf\xbd\\n\"},\"c\":[1,null],\"d\":{}}");
}

TEST(RecordLine, LosesNothingOfARecordThatIsNoText) {
  Record record{.tag = "t", .raw = "ab\xff", .error = "bad"};
  EXPECT_EQ(to_json_line(record), R"({"time":"1970-01-01T00:00:00Z","tag":"t","raw_base64":"YWL/","error":"bad"})");
  record.raw = "ab";
  EXPECT_EQ(to_json_line(record), R"({"time":"1970-01-01T00:00:00Z","tag":"t","raw":"ab","error":"bad"})");
}

}  // namespace
}  // namespace outlast::ingest
