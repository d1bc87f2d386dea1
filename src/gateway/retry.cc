#include "gateway/retry.h"

#include <strings.h>

#include <algorithm>
#include <cctype>

#include "replication/request_id.h"

namespace outlast::gateway {

Verdict judge(const Attempt& attempt) {
  const bool broken = !attempt.channel_alive || attempt.code == Errc::kUnavailable;
  const bool elsewhere = facts(attempt.code).retry == Retry::kUnseen;
  if (attempt.code == Errc::kUnknownOutcome) return Verdict::kUnknown;
  if (!broken && !elsewhere) return Verdict::kGiveUp;
  if (attempt.nothing_applied && elsewhere) return Verdict::kRepeat;
  if (attempt.nothing_applied) return Verdict::kGiveUp;  // the answer arrived before the channel broke
  return attempt.harmless ? Verdict::kRepeat : Verdict::kUnknown;
}

Resolution judge_answer(const proto::ExecReply& answer, Duration elapsed) {
  if (answer.has_error())
    return errc_from_name(answer.error().code()) == Errc::kProtocolViolation ? Resolution::kUnknown
                                                                             : Resolution::kAskAgain;
  const proto::Resolved& resolved = answer.resolved();
  if (resolved.state() == proto::Resolved::APPLIED) return Resolution::kApplied;
  if (resolved.state() != proto::Resolved::ABSENT) return Resolution::kUnknown;
  constexpr std::uint64_t kLongest = std::uint64_t{1} << 40;  // no overflow
  replication::RequestAnswer told;
  told.certain = resolved.certain();
  told.covered = std::chrono::milliseconds(std::min(resolved.covered_ms(), kLongest));
  return certainly_not_applied(told, elapsed) ? Resolution::kNotApplied : Resolution::kUnknown;
}

bool is_query(std::string_view sql, std::string_view tag) {
  if (tag == "SELECT") return true;
  std::size_t i = 0;
  while (i < sql.size() && (std::isspace(static_cast<unsigned char>(sql[i])) != 0 || sql[i] == '(')) ++i;
  const std::string_view rest = sql.substr(i);
  const auto starts = [rest](std::string_view word) {
    if (rest.size() < word.size() || strncasecmp(rest.data(), word.data(), word.size()) != 0) return false;
    return rest.size() == word.size() || std::isalnum(static_cast<unsigned char>(rest[word.size()])) == 0;
  };
  return starts("SELECT") || starts("VALUES");
}

Error to_error(const proto::ExecReply& reply) {
  const proto::ExecError& from = reply.error();
  Error error(errc_from_name(from.code()), from.message());
  error.detail = from.detail();
  error.hint = from.hint();
  error.position = from.position();
  return error;
}

}  // namespace outlast::gateway
