#include "executor/transaction.h"

namespace outlast::executor {

Result<void> Transaction::run(const char* command, std::size_t index) {
  const int code = connection_->run_own(std::string(command) + " s" + std::to_string(index));
  if (code != SQLITE_OK) return connection_->error(code);
  return {};
}

Result<std::size_t> Transaction::find_savepoint(const std::string& name) const {
  for (std::size_t i = savepoints_.size(); i-- > 0;)
    if (savepoints_[i] == name) return i;
  return Error(Errc::kInvalidSavepoint, "savepoint \"" + name + "\" does not exist");
}

Result<void> Transaction::set_savepoint(const std::string& name) {
  TRY(run("SAVEPOINT", savepoints_.size()));
  savepoints_.push_back(name);
  return {};
}

Result<void> Transaction::release_savepoint(const std::string& name) {
  ASSIGN_OR_RETURN(const std::size_t index, find_savepoint(name));
  TRY(run("RELEASE", index));
  savepoints_.resize(index);
  return {};
}

Result<std::size_t> Transaction::rollback_to(const std::string& name) {
  if (broken())
    return Error(Errc::kTransactionLost,
                 "the failed statement ended the whole transaction, its savepoints too; run the transaction again");
  ASSIGN_OR_RETURN(const std::size_t index, find_savepoint(name));
  TRY(run("ROLLBACK TO", index));
  savepoints_.resize(index + 1);
  failed = false;
  return index + 1;
}

void Transaction::end(ConnectionPool& pool) {
  if (connection_ == nullptr) return;
  if (!broken()) connection_->run_own("ROLLBACK");
  pool.give_back(std::move(connection_));
  hold.release();
}

}  // namespace outlast::executor
