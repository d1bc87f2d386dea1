#include "executor/transaction_time.h"

namespace outlast::executor {
namespace {
thread_local std::int64_t present = 0;
}  // namespace

std::int64_t transaction_micros() noexcept {
  return present;
}
TransactionTime::TransactionTime(std::int64_t micros) noexcept {
  present = micros;
}
TransactionTime::~TransactionTime() {
  present = 0;
}

}  // namespace outlast::executor
