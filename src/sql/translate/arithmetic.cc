#include <cmath>

#include "sql/translate/function_kit.h"
#include "sql/types.h"

namespace outlast::sql::kit {

bool number(sqlite3_context* c, sqlite3_value* v, Number& out) {
  switch (sqlite3_value_type(v)) {
    case SQLITE_INTEGER:
      return out.i = sqlite3_value_int64(v), true;
    case SQLITE_FLOAT:
      return out.real = true, out.d = sqlite3_value_double(v), true;
    case SQLITE_TEXT: {
      auto whole = decode_text(text(v), oid::kInt8);
      if (whole.ok()) return out.i = std::get<std::int64_t>(*whole), true;
      auto real = decode_text(text(v), oid::kFloat8);
      if (real.ok()) return out.real = true, out.d = std::get<double>(*real), true;
      break;
    }
    default:
      break;
  }
  fail(c, Errc::kInvalidText, "invalid input syntax for type numeric: \"" + std::string(text(v)) + "\"");
  return false;
}

bool integer(sqlite3_context* c, sqlite3_value* v, std::int64_t& out) {
  Number n;
  if (!number(c, v, n)) return false;
  if (!n.real) return out = n.i, true;
  if (std::abs(n.d) < 9.2e18 && n.d == std::floor(n.d)) return out = static_cast<std::int64_t>(n.d), true;
  fail(c, Errc::kInvalidText, "invalid input syntax for type bigint: \"" + format_double(n.d) + "\"");
  return false;
}

namespace {

void real_result(sqlite3_context* c, double d, bool inputs_finite = true) {
  if (std::isnan(d)) return fail(c, Errc::kNumericOutOfRange, "the result is not a number");
  if (std::isinf(d) && inputs_finite) return fail(c, Errc::kNumericOutOfRange, "value out of range: overflow");
  sqlite3_result_double(c, d);
}

enum class Op { kAdd, kSub, kMul, kDiv, kMod, kIntegerDiv };

void integer_op(sqlite3_context* c, Op op, std::int64_t a, std::int64_t b) {
  std::int64_t r = 0;
  bool overflow = false;
  switch (op) {
    case Op::kAdd:
      overflow = __builtin_add_overflow(a, b, &r);
      break;
    case Op::kSub:
      overflow = __builtin_sub_overflow(a, b, &r);
      break;
    case Op::kMul:
      overflow = __builtin_mul_overflow(a, b, &r);
      break;
    default:
      if (b == 0) return fail(c, Errc::kDivisionByZero, "division by zero");
      if (b == -1) {
        if (op == Op::kMod)
          r = 0;
        else
          overflow = __builtin_sub_overflow(std::int64_t{0}, a, &r);
      } else {
        r = op == Op::kMod ? a % b : a / b;
      }
  }
  if (overflow) return fail(c, Errc::kNumericOutOfRange, "bigint out of range");
  sqlite3_result_int64(c, r);
}

template <Op kOp>
void calculate(sqlite3_context* c, int n, sqlite3_value** v) {
  if (any_null(n, v)) return sqlite3_result_null(c);
  Number a, b;
  if (!number(c, v[0], a) || !number(c, v[1], b)) return;
  if (!a.real && !b.real) return integer_op(c, kOp, a.i, b.i);
  const double x = a.as_double(), y = b.as_double();
  const bool finite = std::isfinite(x) && std::isfinite(y);
  if ((kOp == Op::kDiv || kOp == Op::kMod || kOp == Op::kIntegerDiv) && y == 0)
    return fail(c, Errc::kDivisionByZero, "division by zero");
  switch (kOp) {
    case Op::kAdd:
      return real_result(c, x + y, finite);
    case Op::kSub:
      return real_result(c, x - y, finite);
    case Op::kMul:
      return real_result(c, x * y, finite);
    case Op::kDiv:
      return real_result(c, x / y, finite);
    case Op::kMod:
      return real_result(c, std::fmod(x, y), finite);
    default:
      return real_result(c, std::trunc(x / y), finite);
  }
}

template <char kOp>
void bits(sqlite3_context* c, int n, sqlite3_value** v) {
  if (any_null(n, v)) return sqlite3_result_null(c);
  std::int64_t a = 0, b = 0;
  if (!integer(c, v[0], a) || !integer(c, v[1], b)) return;
  const auto u = static_cast<std::uint64_t>(a);
  switch (kOp) {
    case '&':
      return sqlite3_result_int64(c, a & b);
    case '|':
      return sqlite3_result_int64(c, a | b);
    case '#':
      return sqlite3_result_int64(c, a ^ b);
    case '<':
      return sqlite3_result_int64(c, static_cast<std::int64_t>(u << (b & 63)));
    default:
      return sqlite3_result_int64(c, a >> (b & 63));
  }
}

void negate(sqlite3_context* c, int, sqlite3_value** v) {
  if (null(v[0])) return;
  Number a;
  if (!number(c, v[0], a)) return;
  if (a.real) return sqlite3_result_double(c, -a.d);
  integer_op(c, Op::kSub, 0, a.i);
}

void bit_not(sqlite3_context* c, int, sqlite3_value** v) {
  std::int64_t a = 0;
  if (!null(v[0]) && integer(c, v[0], a)) sqlite3_result_int64(c, ~a);
}

void absolute(sqlite3_context* c, int, sqlite3_value** v) {
  Number a;
  if (null(v[0]) || !number(c, v[0], a)) return;
  if (a.real) return sqlite3_result_double(c, std::abs(a.d));
  if (a.i < 0) return integer_op(c, Op::kSub, 0, a.i);
  sqlite3_result_int64(c, a.i);
}

void power(sqlite3_context* c, int n, sqlite3_value** v) {
  if (any_null(n, v)) return;
  Number a, b;
  if (!number(c, v[0], a) || !number(c, v[1], b)) return;
  const double x = a.as_double(), y = b.as_double();
  if (x == 0 && y < 0) return fail(c, Errc::kNumericOutOfRange, "zero raised to a negative power is undefined");
  real_result(c, std::pow(x, y), std::isfinite(x) && std::isfinite(y));
}

double round_away(double d) {
  return std::round(d);
}
double round_even(double d) {
  return std::nearbyint(d);
}
double sign_of(double d) {
  return d > 0 ? 1 : d < 0 ? -1 : 0;
}

template <double (*kFunction)(double)>
void math(sqlite3_context* c, int, sqlite3_value** v) {
  Number a;
  if (null(v[0]) || !number(c, v[0], a)) return;
  const double x = a.as_double();
  constexpr bool kLog = kFunction == static_cast<double (*)(double)>(std::log) ||
                        kFunction == static_cast<double (*)(double)>(std::log10);
  if (kLog && x == 0) return fail(c, Errc::kNumericOutOfRange, "cannot take logarithm of zero");
  if (kLog && x < 0) return fail(c, Errc::kNumericOutOfRange, "cannot take logarithm of a negative number");
  if (kFunction == static_cast<double (*)(double)>(std::sqrt) && x < 0)
    return fail(c, Errc::kNumericOutOfRange, "cannot take square root of a negative number");
  real_result(c, kFunction(x), std::isfinite(x));
}

/// round(x, n) and trunc(x, n), halves away from zero, on the decimal digits that are shown.
template <bool kRound>
void to_digits(sqlite3_context* c, int n, sqlite3_value** v) {
  if (any_null(n, v)) return;
  Number a;
  std::int64_t digits = 0;
  if (!number(c, v[0], a)) return;
  if (n == 2 && !integer(c, v[1], digits)) return;
  if (digits < -300 || digits > 300) return fail(c, Errc::kNumericOutOfRange, "number of digits out of range");
  const long double scale = std::pow(10.0L, static_cast<long double>(digits));
  // Read from the shortest decimal form, so that 1.005 counts as what the user sees.
  const long double x = std::strtold(format_double(a.as_double()).c_str(), nullptr) * scale;
  const long double r = kRound ? std::round(x) : std::trunc(x);
  real_result(c, static_cast<double>(r / scale));
}

template <bool kGreatest>
void extreme(sqlite3_context* c, int n, sqlite3_value** v) {
  sqlite3_value* best = nullptr;
  for (int i = 0; i < n; ++i) {
    if (null(v[i])) continue;
    if (best == nullptr) {
      best = v[i];
      continue;
    }
    int order = 0;
    if (sqlite3_value_type(v[i]) == SQLITE_TEXT || sqlite3_value_type(best) == SQLITE_TEXT) {
      order = text(v[i]).compare(text(best));
    } else {
      Number a, b;
      if (!number(c, v[i], a) || !number(c, best, b)) return;
      if (!a.real && !b.real)
        order = a.i < b.i ? -1 : a.i > b.i;
      else
        order = a.as_double() < b.as_double() ? -1 : a.as_double() > b.as_double();
    }
    if (kGreatest ? order > 0 : order < 0) best = v[i];
  }
  if (best != nullptr) sqlite3_result_value(c, best);
}

constexpr Entry kEntries[] = {
    {"pg_add", 2, true, calculate<Op::kAdd>},
    {"pg_sub", 2, true, calculate<Op::kSub>},
    {"pg_mul", 2, true, calculate<Op::kMul>},
    {"pg_div", 2, true, calculate<Op::kDiv>},
    {"pg_mod", 2, true, calculate<Op::kMod>},
    {"pg_idiv", 2, true, calculate<Op::kIntegerDiv>},
    {"pg_and", 2, true, bits<'&'>},
    {"pg_or", 2, true, bits<'|'>},
    {"pg_xor", 2, true, bits<'#'>},
    {"pg_lshift", 2, true, bits<'<'>},
    {"pg_rshift", 2, true, bits<'>'>},
    {"pg_neg", 1, true, negate},
    {"pg_not", 1, true, bit_not},
    {"pg_abs", 1, true, absolute},
    {"pg_power", 2, true, power},
    {"pg_round", 1, true, math<round_even>},
    {"pg_roundn", 1, true, math<round_away>},
    {"pg_roundn", 2, true, to_digits<true>},
    {"pg_trunc", 1, true, math<std::trunc>},
    {"pg_trunc", 2, true, to_digits<false>},
    {"pg_ceil", 1, true, math<std::ceil>},
    {"pg_floor", 1, true, math<std::floor>},
    {"pg_sign", 1, true, math<sign_of>},
    {"pg_sqrt", 1, true, math<std::sqrt>},
    {"pg_exp", 1, true, math<std::exp>},
    {"pg_ln", 1, true, math<std::log>},
    {"pg_log10", 1, true, math<std::log10>},
    {"pg_greatest", -1, true, extreme<true>},
    {"pg_least", -1, true, extreme<false>},
};

}  // namespace

int install_arithmetic(sqlite3* db) {
  return install_all(db, kEntries, std::size(kEntries));
}

}  // namespace outlast::sql::kit
