// Several statements in one request (script.h). On SQL threads.
#include "executor/channel_core.h"
#include "executor/script.h"

namespace outlast::executor {

/// False: the request is one statement.
bool ChannelCore::take_script() {
  const proto::Run& run = op_->request.run();
  if (!run.internal()) return false;
  op_->script = split_script(run.sql());
  return !op_->script.empty();
}

Result<void> ChannelCore::execute_script() {
  Op& op = *op_;
  const proto::Run& run = op.request.run();
  if (static_cast<std::size_t>(run.params_size()) != op.script.size())
    return Error(Errc::kProtocolViolation, "a script needs one set of parameters for each of its statements");
  for (std::size_t i = 0; i < op.script.size(); ++i) {
    ASSIGN_OR_RETURN(op.statement, connection().prepare(op.script[i].sql, Caller::kInternal));
    if (!op.statement) return Error(Errc::kSyntax, "a statement of a script is empty");
    const std::int64_t before = op.changes;
    TRY(execute_once(run.params(static_cast<int>(i))));
    if (op.reply.columns_size() == 0) describe_columns(op.statement.get(), op.reply);
    op.statement.release();
    if (op.script[i].must_change && op.changes == before) break;
  }
  return {};
}

}  // namespace outlast::executor
