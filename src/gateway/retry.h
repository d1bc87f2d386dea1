#pragma once
#include <cstdint>
#include <string_view>

#include "base/loop.h"
#include "base/result.h"
#include "proto/exec.pb.h"

namespace outlast::gateway {

/// What a gateway does with a leaseholder's error to a statement that runs outside a transaction, or opens one. Nothing
/// has been sent to the client yet.
enum class Verdict : std::uint8_t {
  kGiveUp,   ///< The client gets the error.
  kRepeat,   ///< Provably nothing was applied, or there was nothing to apply: again, by a fresh route.
  kUnknown,  ///< A write was under way when the answer got lost: ask for its outcome.
};
struct Attempt {
  Errc code{Errc::kInternal};
  bool nothing_applied{false};
  bool channel_alive{true};  ///< After the reply.
  bool harmless{false};      ///< A read, or the first statement of a transaction: without its COMMIT nothing remains.
};
/// Protocol A11, last paragraph. Pure.
Verdict judge(const Attempt& attempt);

/// What a leaseholder's answer says about a write in doubt.
enum class Resolution : std::uint8_t {
  kApplied,
  kNotApplied,  ///< Nor will it be.
  kUnknown,     ///< It is not known any more, or an older program was asked.
  kAskAgain,
};
/// `elapsed`: from before the write was sent until after this answer came, by the gateway's clock. Pure.
Resolution judge_answer(const proto::ExecReply& answer, Duration elapsed);

/// True for SQLite text that cannot write: SELECT and VALUES. Anything else counts as a write unless its tag says
/// SELECT.
bool is_query(std::string_view sql, std::string_view tag);

Error to_error(const proto::ExecReply& reply);

}  // namespace outlast::gateway
