#pragma once
#include <cassert>
#include <expected>
#include <utility>

#include "base/error.h"

namespace outlast {

/// A value or an Error. Unlike std::expected it may not be dropped and its value may not be read unchecked.
template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : v_(std::move(value)) {}                       // NOLINT: implicit on purpose
  Result(Error error) : v_(std::unexpected(std::move(error))) {}  // NOLINT
  bool ok() const noexcept { return v_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  T& value() & { return check(), *v_; }
  const T& value() const& { return check(), *v_; }
  T&& value() && { return check(), std::move(*v_); }
  T* operator->() { return check(), &*v_; }
  const T* operator->() const { return check(), &*v_; }
  T& operator*() & { return check(), *v_; }
  const T& operator*() const& { return check(), *v_; }
  T&& operator*() && { return check(), std::move(*v_); }
  Error& error() & { return v_.error(); }
  const Error& error() const& { return v_.error(); }
  Error&& error() && { return std::move(v_.error()); }

 private:
  void check() const {
    if (!v_.has_value()) __builtin_trap();  // our bug: a value was read without asking ok()
  }
  std::expected<T, Error> v_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : v_(std::unexpected(std::move(error))) {}  // NOLINT
  bool ok() const noexcept { return v_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  Error& error() & { return v_.error(); }
  const Error& error() const& { return v_.error(); }
  Error&& error() && { return std::move(v_.error()); }

 private:
  std::expected<void, Error> v_;
};

/// Stops the process when one of our own promises is broken; stays on in release builds.
#define OUTLAST_ASSERT(condition, ...)                                                        \
  do {                                                                                        \
    if (!(condition)) [[unlikely]]                                                            \
      ::outlast::assertion_failed(#condition, __FILE__, __LINE__ __VA_OPT__(, ) __VA_ARGS__); \
  } while (false)
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line, const char* why = "");

/// `TRY(expr)` returns the error of a Result<void>; `ASSIGN_OR_RETURN(auto x, expr)` unpacks a value. In coroutines
/// write the check out.
#define OUTLAST_CONCAT_(a, b) a##b
#define OUTLAST_CONCAT(a, b) OUTLAST_CONCAT_(a, b)
#define TRY(expr)                                                                         \
  do {                                                                                    \
    if (auto try_result = (expr); !try_result.ok()) return std::move(try_result).error(); \
  } while (false)
#define ASSIGN_OR_RETURN(declaration, expr)                             \
  auto OUTLAST_CONCAT(assign_result_, __LINE__) = (expr);               \
  if (!OUTLAST_CONCAT(assign_result_, __LINE__).ok())                   \
    return std::move(OUTLAST_CONCAT(assign_result_, __LINE__)).error(); \
  declaration = std::move(OUTLAST_CONCAT(assign_result_, __LINE__)).value()

}  // namespace outlast
