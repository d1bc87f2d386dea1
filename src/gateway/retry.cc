#include "gateway/retry.h"

#include <strings.h>

#include <cctype>

namespace outlast::gateway {

Verdict judge(const Attempt& attempt) {
  const bool broken = !attempt.channel_alive || attempt.code == Errc::kUnavailable;
  const bool elsewhere = facts(attempt.code).retry == Retry::kUnseen;
  if (!broken && !elsewhere) return Verdict::kGiveUp;
  if (attempt.nothing_applied && elsewhere) return Verdict::kRepeat;
  if (attempt.nothing_applied) return Verdict::kGiveUp;  // the answer arrived before the channel broke
  if (attempt.code == Errc::kUnknownOutcome) return Verdict::kGiveUp;
  return attempt.harmless ? Verdict::kRepeat : Verdict::kUnknown;
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
