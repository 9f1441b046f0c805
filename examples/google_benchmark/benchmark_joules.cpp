// SPDX-License-Identifier: MIT
// Google Benchmark with joules: user counters J/op, with their bounds, beside the time of each benchmark.
#include <benchmark/benchmark.h>
#include <powerprobe.h>

#include <cstdio>
#include <numeric>
#include <vector>

namespace {

pp_probe *probe = nullptr;

// Lives around the loop of a benchmark; its end adds the counters. For benchmarks of one thread: with more, each would count the
// whole machine's joules.
class Joules {
 public:
  explicit Joules(benchmark::State &state) : state_(state), start_ns_(pp_mark(probe)) {}
  Joules(const Joules &) = delete;
  Joules &operator=(const Joules &) = delete;
  ~Joules() {
    const int64_t end_ns = pp_mark(probe);
    pp_joules used = PP_JOULES_INIT;
    // The waiting is after the loop and so not in the time. Runs of under a millisecond, which only find the number of iterations,
    // have wide bounds; the last run, which is the one that is printed, lasts --benchmark_min_time.
    if (pp_energy(probe, PP_TOTAL, start_ns_, end_ns, PP_SETTLE, &used) != PP_OK) {
      state_.SkipWithError(pp_last_error()->message);
      return;
    }
    const auto count = static_cast<double>(state_.iterations());
    state_.counters["J/op"] = used.joules / count;
    state_.counters["J/op_lower"] = used.lower / count;
    state_.counters["J/op_upper"] = used.upper / count;
    if ((used.flags & PP_FROM_MODEL) != 0) state_.SetLabel("estimated by a model");
  }

 private:
  benchmark::State &state_;
  int64_t start_ns_;
};

void Sum(benchmark::State &state) {
  const std::vector<double> numbers(static_cast<std::size_t>(state.range(0)), 1.0);
  const Joules joules(state);
  for (auto _ : state) benchmark::DoNotOptimize(std::accumulate(numbers.begin(), numbers.end(), 0.0));
}
BENCHMARK(Sum)->Arg(1 << 10)->Arg(1 << 16);

}  // namespace

int main(int argc, char **argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  if (pp_open(nullptr, &probe) != PP_OK || pp_ask(probe) != PP_OK) {
    std::fprintf(stderr, "%s\n%s\n", pp_last_error()->message, pp_last_error()->remedy);
    return 1;
  }
  benchmark::RunSpecifiedBenchmarks();
  pp_release(probe);
  pp_close(probe);
}
