// The checker tells right from wrong: small histories by hand, and random ones made from a true order.
#include "tests/sim/linearizability.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/loop.h"

namespace outlast::sim {
namespace {
using Kind = Operation::Kind;
constexpr std::uint64_t kNever = Operation::kNever;

Operation op(Kind kind, std::string argument, std::optional<std::string> result, std::uint64_t from, std::uint64_t to) {
  return {kind, 0, std::move(argument), std::move(result), from, to};
}

TEST(Linearizability, ASequentialHistoryIsFine) {
  EXPECT_EQ(check_linearizable({op(Kind::kWrite, "<a>", {}, 1, 2), op(Kind::kRead, "", "<a>", 3, 4),
                                op(Kind::kSwap, "<b>", "<a>", 5, 6), op(Kind::kRead, "", "<b>", 7, 8)}),
            Verdict::kLinearizable);
}

TEST(Linearizability, FindsALostWrite) {
  EXPECT_EQ(check_linearizable({op(Kind::kWrite, "<a>", {}, 1, 2), op(Kind::kRead, "", "", 3, 4)}),
            Verdict::kViolation);
}

TEST(Linearizability, FindsAStaleReadAfterANewOne) {
  EXPECT_EQ(check_linearizable({op(Kind::kWrite, "<a>", {}, 1, 2), op(Kind::kWrite, "<b>", {}, 3, 10),
                                op(Kind::kRead, "", "<b>", 4, 5), op(Kind::kRead, "", "<a>", 6, 7)}),
            Verdict::kViolation);
}

TEST(Linearizability, ConcurrentOperationsMayGoEitherWay) {
  for (const char* last : {"<a>", "<b>"})
    EXPECT_EQ(check_linearizable({op(Kind::kWrite, "<a>", {}, 1, 4), op(Kind::kWrite, "<b>", {}, 2, 3),
                                  op(Kind::kRead, "", last, 5, 6)}),
              Verdict::kLinearizable);
}

TEST(Linearizability, AnUnknownWriteMayComeLateOrNever) {
  const Operation unknown = op(Kind::kWrite, "<a>", {}, 1, kNever);
  EXPECT_EQ(check_linearizable({unknown, op(Kind::kRead, "", "", 3, 4), op(Kind::kRead, "", "<a>", 5, 6)}),
            Verdict::kLinearizable);
  EXPECT_EQ(check_linearizable({unknown, op(Kind::kRead, "", "", 3, 4)}), Verdict::kLinearizable);
  EXPECT_EQ(check_linearizable({unknown, op(Kind::kRead, "", "<a>", 3, 4), op(Kind::kRead, "", "", 5, 6)}),
            Verdict::kViolation);
}

TEST(Linearizability, AWriteThatWasRefusedMustNotShow) {  // it is not in the history at all
  EXPECT_EQ(check_linearizable({op(Kind::kRead, "", "<a>", 3, 4)}), Verdict::kViolation);
}

TEST(Linearizability, ListsKeepTheirOrder) {
  const Operation a = op(Kind::kAppend, "<a>", {}, 1, 5), b = op(Kind::kAppend, "<b>", {}, 2, 6);
  EXPECT_EQ(check_linearizable({a, b, op(Kind::kRead, "", "<b><a>", 7, 8)}), Verdict::kLinearizable);
  EXPECT_EQ(check_linearizable({a, b, op(Kind::kRead, "", "<b><a>", 7, 8), op(Kind::kRead, "", "<a><b>", 9, 10)}),
            Verdict::kViolation);
  EXPECT_EQ(check_linearizable({a, b, op(Kind::kRead, "", "<a><a><b>", 7, 8)}), Verdict::kViolation);
}

TEST(Linearizability, ADuplicateErrorIsAnObservation) {
  const Operation lost = op(Kind::kInsert, "", {}, 1, kNever);
  EXPECT_EQ(check_linearizable({lost, op(Kind::kInsert, "", "1", 2, 3), op(Kind::kRead, "", "1", 4, 5)}),
            Verdict::kLinearizable);
  EXPECT_EQ(check_linearizable({lost, op(Kind::kInsert, "", "1", 2, 3), op(Kind::kRead, "", "", 4, 5)}),
            Verdict::kViolation);
  EXPECT_EQ(check_linearizable({op(Kind::kInsert, "", "", 1, 2), op(Kind::kRemove, "", "1", 3, 4),
                                op(Kind::kRemove, "", "", 5, 6), op(Kind::kInsert, "", "", 7, 8)}),
            Verdict::kLinearizable);
}

/// Operations that truly took effect in order, with random spans around their instants; some outcomes unknown.
std::vector<Operation> true_history(Random& random, std::size_t n) {
  std::vector<Operation> ops;
  std::string state;
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint64_t at = 1000 * (i + 1);
    Operation made =
        op(Kind::kRead, "<" + std::to_string(i) + ">", {}, at - random.below(2500) % at, at + 1 + random.below(2500));
    const bool applied = random.below(10) != 0;
    switch (random.below(4)) {
      case 0:
        made.kind = Kind::kWrite;
        break;
      case 1:
        made.kind = Kind::kAppend;
        break;
      case 2:
        made.kind = Kind::kSwap;
        made.result = state;
        break;
      default:
        made.result = state;
    }
    if (made.kind != Kind::kRead && (!applied || random.below(10) == 0)) made.returned = kNever;
    if (made.kind != Kind::kRead && applied) state = made.kind == Kind::kAppend ? state + made.argument : made.argument;
    if (!applied && made.kind == Kind::kRead) continue;
    ops.push_back(std::move(made));
  }
  // Instants must be places in one order.
  std::vector<std::uint64_t*> moments;
  for (Operation& o : ops) {
    moments.push_back(&o.invoked);
    if (o.returned != kNever) moments.push_back(&o.returned);
  }
  std::stable_sort(moments.begin(), moments.end(), [](auto* a, auto* b) { return *a < *b; });
  for (std::size_t i = 0; i < moments.size(); ++i) *moments[i] = i + 1;
  return ops;
}

TEST(Linearizability, TrueHistoriesPassAndForgedOnesDoNot) {
  SeededRandom random(5);
  int forged = 0, caught = 0;
  for (int run = 0; run < 300; ++run) {
    std::vector<Operation> history = true_history(random, 60);
    ASSERT_EQ(check_linearizable(history), Verdict::kLinearizable) << "run " << run;
    // A read of a value that nobody wrote, put at the end of time.
    history.push_back(op(Kind::kRead, "", "<never written>", 1'000'000, 1'000'001));
    ASSERT_EQ(check_linearizable(history), Verdict::kViolation) << "run " << run;
    history.pop_back();
    // The first value again, after everything: wrong unless it is still there.
    const auto last = std::find_if(history.rbegin(), history.rend(),
                                   [](const Operation& o) { return o.kind == Kind::kWrite && o.returned != kNever; });
    if (last == history.rend()) continue;
    history.push_back(op(Kind::kRead, "", "", 1'000'000, 1'000'001));
    ++forged;
    caught += check_linearizable(history) == Verdict::kViolation ? 1 : 0;
  }
  EXPECT_EQ(caught, forged);
  EXPECT_GT(forged, 250);
}

}  // namespace
}  // namespace outlast::sim
