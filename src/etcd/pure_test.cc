#include <gtest/gtest.h>

#include "etcd/codec.h"
#include "etcd/options.h"
#include "etcd/verdict.h"

namespace outlast::etcd {
namespace {
using meta::Compare;
using meta::Op;
using meta::Txn;

TEST(EtcdUrl, TakesAddressesPrefixAndOptions) {
  const auto plain = parse_url("etcd://a:2379");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->endpoints, std::vector<std::string>{"a:2379"});
  EXPECT_EQ(plain->prefix, "/outlast");
  const auto full = parse_url("etcd://a:1,10.0.0.2:2,[::1]:3/prod/one/?ca=/c&cert=/d&key=/k&user=u&password-file=/p");
  ASSERT_TRUE(full.ok()) << full.error().message;
  EXPECT_EQ(full->endpoints, (std::vector<std::string>{"a:1", "10.0.0.2:2", "[::1]:3"}));
  EXPECT_EQ(full->prefix, "/prod/one");
  EXPECT_EQ(full->ca_file, "/c");
  EXPECT_EQ(full->key_file, "/k");
  EXPECT_EQ(full->user, "u");
  EXPECT_EQ(full->password_file, "/p");
}

TEST(EtcdUrl, RefusesWhatItWouldMisunderstand) {
  for (const char* url :
       {"etcd://", "etcd://a", "etcd://a:1,", "etcd://:1", "etcd://a:x", "etcd://u@a:1", "http://a:1", "etcd://a:1?",
        "etcd://a:1?ca", "etcd://a:1?ca=", "etcd://a:1?ca=/a&ca=/b", "etcd://a:1?cert=/c", "etcd://a:1?cert=/c&key=/k",
        "etcd://a:1?user=u", "etcd://a:1?password-file=/p", "etcd://a:1?password=x"}) {
    const auto parsed = parse_url(url);
    if (std::string_view(url).ends_with("?")) {
      EXPECT_TRUE(parsed.ok()) << url;
      continue;
    }
    ASSERT_FALSE(parsed.ok()) << url;
    EXPECT_EQ(parsed.error().code, Errc::kInvalidArgument) << url;
    EXPECT_NE(parsed.error().message.find("etcd://HOST:PORT"), std::string::npos) << "says what is right";
  }
}

TEST(EtcdUrl, NamesTheFileThatItCannotRead) {
  const auto options = parse_url("etcd://a:1?user=u&password-file=/nowhere/password");
  ASSERT_TRUE(options.ok());
  const auto secrets = read_secrets(*options);
  ASSERT_FALSE(secrets.ok());
  EXPECT_EQ(secrets.error().code, Errc::kIo);
  EXPECT_NE(secrets.error().message.find("/nowhere/password"), std::string::npos);
}

struct Answer {
  grpc::StatusCode code;
  const char* text;
  Verdict verdict;
};
class EtcdVerdict : public testing::TestWithParam<Answer> {};

/// What is called "certainly not applied" here must be that: a wrong line loses or doubles changes.
TEST_P(EtcdVerdict, IsCertainOnlyWhereEtcdIs) {
  const Judgement judged = judge(grpc::Status(GetParam().code, GetParam().text));
  EXPECT_EQ(judged.verdict, GetParam().verdict) << GetParam().text;
  EXPECT_FALSE(judged.error.message.empty());
}
using enum grpc::StatusCode;
INSTANTIATE_TEST_SUITE_P(
    Each, EtcdVerdict,
    testing::Values(Answer{UNAVAILABLE, "etcdserver: no leader", Verdict::kNotNow},
                    Answer{UNAVAILABLE, "etcdserver: not capable", Verdict::kNotNow},
                    Answer{UNKNOWN, "raft proposal dropped", Verdict::kNotNow},
                    Answer{RESOURCE_EXHAUSTED, "etcdserver: too many requests", Verdict::kNotNow},
                    Answer{RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded", Verdict::kNoSpace},
                    Answer{INVALID_ARGUMENT, "etcdserver: too many operations in txn request", Verdict::kRefused},
                    Answer{INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request", Verdict::kRefused},
                    Answer{INVALID_ARGUMENT, "etcdserver: request is too large", Verdict::kRefused},
                    Answer{INVALID_ARGUMENT, "etcdserver: user name is empty", Verdict::kNewToken},
                    Answer{INVALID_ARGUMENT, "etcdserver: revision of auth store is old", Verdict::kNewToken},
                    Answer{UNAUTHENTICATED, "etcdserver: invalid auth token", Verdict::kNewToken},
                    Answer{PERMISSION_DENIED, "etcdserver: permission denied", Verdict::kRefused},
                    Answer{OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted", Verdict::kRefused},
                    Answer{UNAVAILABLE, "etcdserver: request timed out", Verdict::kUnclear},
                    Answer{UNAVAILABLE, "etcdserver: request timed out, possibly due to previous leader failure",
                           Verdict::kUnclear},
                    Answer{UNAVAILABLE, "etcdserver: leader changed", Verdict::kUnclear},
                    Answer{UNAVAILABLE, "etcdserver: server stopped", Verdict::kUnclear},
                    Answer{UNAVAILABLE, "Socket closed", Verdict::kUnclear},
                    Answer{DEADLINE_EXCEEDED, "Deadline Exceeded", Verdict::kUnclear},
                    Answer{CANCELLED, "CANCELLED", Verdict::kUnclear}, Answer{UNKNOWN, "", Verdict::kUnclear},
                    Answer{DATA_LOSS, "etcdserver: corrupt cluster", Verdict::kUnclear}));

TEST(EtcdCodec, EndsAPrefixWhereEtcdDoes) {
  EXPECT_EQ(end_of_prefix("/a/"), "/a0");
  EXPECT_EQ(end_of_prefix("/a\xff"), "/b");
  EXPECT_EQ(end_of_prefix("\xff\xff"), std::string(1, '\0'));
}

TEST(EtcdCodec, PutsThePrefixOnAndTakesItOff) {
  const Codec codec("/prod");
  const Txn txn{.compares = {Compare::absent("/a")}, .then = {Op::get_prefix("/b/")}, .otherwise = {Op::del("/c")}};
  const pb::TxnRequest request = codec.request(txn);
  EXPECT_EQ(request.compare(0).key(), "/prod/a");
  EXPECT_EQ(request.success(0).range().key(), "/prod/b/");
  EXPECT_EQ(request.success(0).range().range_end(), "/prod/b0");
  EXPECT_EQ(request.failure(0).delete_range().key(), "/prod/c");
  pb::TxnResponse response;
  response.set_succeeded(true);
  response.mutable_header()->set_revision(9);
  response.add_responses()->mutable_range()->add_kvs()->set_key("/prod/b/x");
  const meta::TxnReply reply = codec.reply(txn, response);
  EXPECT_EQ(reply.revision, Revision(9));
  EXPECT_EQ(reply.replies.at(0).kvs.at(0).key, "/b/x");
}

TEST(EtcdCodec, NeverLetsAMemberDecideByItself) {
  const pb::TxnRequest request =
      Codec("/p").request({.compares = {Compare::present("/a")}, .then = {}, .otherwise = {}});
  ASSERT_EQ(request.success_size() + request.failure_size(), 1) << "etcd takes a transaction of no operation for stale";
  EXPECT_FALSE(request.success(0).range().serializable());
}

TEST(EtcdCodec, RefusesAKeyThatLeavesThePrefix) {
  EXPECT_EQ(Codec::check({.compares = {}, .then = {Op::put("a", "")}, .otherwise = {}}).error().code,
            Errc::kInvalidArgument);
}

TEST(EtcdCodec, CountsOperationsByDepth) {
  const auto puts = [](int n, const std::string& under) {
    Txn txn;
    for (int i = 0; i < n; ++i) txn.then.push_back(Op::put(under + std::to_string(i), ""));
    return txn;
  };
  EXPECT_EQ(depth_ops(puts(5, "/a/")), 5U);
  Txn batch;
  for (int i = 0; i < 100; ++i) batch.then.push_back(Op::txn(puts(3, "/" + std::to_string(i) + "/")));
  EXPECT_EQ(depth_ops(batch), 103U) << "neighbours do not add up, levels do";
  batch.compares.assign(110, Compare::absent("/x"));
  EXPECT_EQ(depth_ops(batch), 113U) << "compares are counted, too";
}

}  // namespace
}  // namespace outlast::etcd
