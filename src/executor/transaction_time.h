#pragma once
#include <cstdint>

namespace outlast::executor {

/// When the transaction that this SQL thread works for began, in microseconds since 1970 UTC: what SQL's now() answers,
/// the same all through a transaction. 0 on threads that run no statement.
std::int64_t transaction_micros() noexcept;

/// Sets it for a scope.
class TransactionTime {
 public:
  explicit TransactionTime(std::int64_t micros) noexcept;
  ~TransactionTime();
  TransactionTime(const TransactionTime&) = delete;
  TransactionTime& operator=(const TransactionTime&) = delete;
};

}  // namespace outlast::executor
