#include "etcd/verdict.h"

#include <string_view>

namespace outlast::etcd {
namespace {

struct Row {
  grpc::StatusCode status;
  std::string_view text;  ///< Contained in the message; empty: any.
  Verdict verdict;
  Errc code;
  std::string_view advice;
};

// Verified against etcd 3.4: which answers come before raft or instead of applying. "raft proposal dropped" is said by
// the member's own raft when it knows no leader, or while the leader hands its office over. "request timed out",
// "leader changed" and "server stopped" are said of proposals that are under way.
constexpr Row kRows[] = {
    {grpc::StatusCode::UNAVAILABLE, "no leader", Verdict::kNotNow, Errc::kMetaUnavailable, ""},
    {grpc::StatusCode::UNAVAILABLE, "not capable", Verdict::kNotNow, Errc::kMetaUnavailable, ""},
    {grpc::StatusCode::UNAVAILABLE, "not supported for learner", Verdict::kNotNow, Errc::kMetaUnavailable, ""},
    {grpc::StatusCode::UNKNOWN, "raft proposal dropped", Verdict::kNotNow, Errc::kMetaUnavailable, ""},
    {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many requests", Verdict::kNotNow, Errc::kMetaUnavailable, ""},
    {grpc::StatusCode::RESOURCE_EXHAUSTED, "database space exceeded", Verdict::kNoSpace, Errc::kMetaInDoubt,
     "; etcd accepts no change until there is room: compact its history, run `etcdctl defrag` at every member, then "
     "`etcdctl alarm disarm`"},
    {grpc::StatusCode::RESOURCE_EXHAUSTED, "larger than max", Verdict::kRefused, Errc::kTooLarge, "; split it"},
    {grpc::StatusCode::INVALID_ARGUMENT, "request is too large", Verdict::kRefused, Errc::kTooLarge, "; split it"},
    {grpc::StatusCode::INVALID_ARGUMENT, "too many operations", Verdict::kRefused, Errc::kMetaTooManyOps,
     "; halve it, or raise etcd's --max-txn-ops to its default of 128"},
    {grpc::StatusCode::INVALID_ARGUMENT, "revision of auth store is old", Verdict::kNewToken, Errc::kMetaUnavailable,
     ""},
    {grpc::StatusCode::INVALID_ARGUMENT, "user name is empty", Verdict::kNewToken, Errc::kMetaUnavailable,
     "; name one: --meta=etcd://…?user=NAME&password-file=FILE"},
    {grpc::StatusCode::INVALID_ARGUMENT, "authentication failed", Verdict::kRefused, Errc::kInvalidAuthorization,
     "; check user and password-file of --meta"},
    {grpc::StatusCode::INVALID_ARGUMENT, "", Verdict::kRefused, Errc::kInvalidArgument, ""},
    {grpc::StatusCode::UNAUTHENTICATED, "", Verdict::kNewToken, Errc::kMetaUnavailable, ""},
    {grpc::StatusCode::PERMISSION_DENIED, "", Verdict::kRefused, Errc::kMetaUnavailable,
     "; grant the user of --meta the right to read and write all keys below the prefix: `etcdctl role "
     "grant-permission ROLE readwrite PREFIX/ --prefix`"},
    {grpc::StatusCode::OUT_OF_RANGE, "has been compacted", Verdict::kRefused, Errc::kCompacted, ""},
    {grpc::StatusCode::UNIMPLEMENTED, "", Verdict::kRefused, Errc::kMetaUnavailable,
     "; is this etcd, version 3.4 or later?"},
};

}  // namespace

Judgement judge(const grpc::Status& status) {
  const std::string& said = status.error_message();
  for (const Row& row : kRows) {
    if (row.status != status.error_code() || said.find(row.text) == std::string::npos) continue;
    return {row.verdict, Error(row.code, "etcd refuses: " + said + std::string(row.advice))};
  }
  return {Verdict::kUnclear,
          Error(Errc::kMetaUnavailable, said.empty() ? "the connection to etcd ended" : "etcd: " + said)};
}

}  // namespace outlast::etcd
