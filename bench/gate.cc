// What it costs to count one piece of work in and out: Gate::admit and Ticket::end. Run by bench/gate.py.
#include "lifecycle/gate.h"

#include <benchmark/benchmark.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>

namespace outlast::lifecycle {
namespace {

/// Instructions that `work` takes in user space, counted one by one: exact, and possible in virtual machines too, which
/// hide the processor's counters. 0 where a process may not trace its child.
template <class Work>
std::uint64_t count_instructions(Work work) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    work();
    ::raise(SIGSTOP);
    ::_exit(0);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, WUNTRACED) != child) return 0;
  std::uint64_t steps = 0;
  while (::ptrace(PTRACE_SINGLESTEP, child, nullptr, nullptr) == 0 && ::waitpid(child, &status, 0) == child &&
         WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)
    ++steps;
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return steps;
}

void admit_and_end_once(Gate& gate) {
  auto ticket = gate.admit(WorkKind::kStatement);
  ticket.value().end(Outcome::kDone);
}

void instructions(benchmark::State& state) {
  static Gate gate;
  const auto of = [](int times) {
    return count_instructions([times] {
      for (int i = 0; i < times; ++i) admit_and_end_once(gate);
    });
  };
  for (auto _ : state) benchmark::ClobberMemory();
  // The difference, so that beginning and end of the counting do not count.
  constexpr int kTimes = 100;
  state.counters["instructions"] = static_cast<double>(of(2 * kTimes) - of(kTimes)) / kTimes;
}

/// All threads through one gate, as the sessions of a node go.
void admit_and_end(benchmark::State& state) {
  static Gate gate;
  for (auto _ : state) admit_and_end_once(gate);
}

/// What a node asks while it drains, many times a second; the sum over all shards.
void read_ledger(benchmark::State& state) {
  static Gate gate;
  for (auto _ : state) benchmark::DoNotOptimize(gate.ledger());
}

BENCHMARK(instructions)->Iterations(1);
BENCHMARK(admit_and_end)->ThreadRange(1, 16)->UseRealTime();
BENCHMARK(read_ledger);

}  // namespace
}  // namespace outlast::lifecycle

BENCHMARK_MAIN();
