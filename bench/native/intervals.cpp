// SPDX-License-Identifier: MIT
// Energy of a million intervals over a million edges, next to a loop that moves the same bytes in order and computes nothing:
// every interval and every edge read once, four fresh results written. Wall-clock time: ours shares the work
// among a few threads.
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <stdexcept>
#include <vector>

#include "core/clock.hpp"
#include "core/mirror.hpp"
#include "core/series.hpp"
#include "pairs.hpp"

namespace bench {
namespace {

constexpr std::size_t kCount = 1 << 20;

// Update periods in milliseconds: quantiles of 9997 steps of an Ice Lake-SP package counter, published with Alt et al.,
// "RAPL validation" (ICPE 2024). bench/intervals.py has the same.
constexpr double kQuantile[] = {0.0, 0.01, 0.50, 0.938, 0.95, 0.99, 1.0};
constexpr double kStepMs[] = {0.60, 0.68, 0.88, 1.50, 1.52, 1.65, 2.83};

double jittered_ms(double u) {
  std::size_t i = 1;
  while (kQuantile[i] < u) ++i;
  return kStepMs[i - 1] + (kStepMs[i] - kStepMs[i - 1]) * (u - kQuantile[i - 1]) / (kQuantile[i] - kQuantile[i - 1]);
}

// As numpy allocates large results: fresh from the kernel each time, huge pages welcome.
template <typename T>
class FreshArray {
 public:
  FreshArray() {
    void* const memory = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    ::madvise(memory, kBytes, MADV_HUGEPAGE);
    data_ = static_cast<T*>(memory);
  }
  ~FreshArray() { ::munmap(data_, kBytes); }
  FreshArray(const FreshArray&) = delete;
  FreshArray& operator=(const FreshArray&) = delete;
  [[nodiscard]] std::span<T> span() const { return {data_, kCount}; }

 private:
  static constexpr std::size_t kBytes = kCount * sizeof(T);
  T* data_;
};

}  // namespace

int intervals(int rounds, bool jitter, bool sorted) {
  std::mt19937_64 random(20240601);
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  powerprobe::Mirror memory(kCount * sizeof(powerprobe::Edge));  // the pages of a ring, which are never huge
  const std::span edges(static_cast<powerprobe::Edge*>(memory.data()), kCount);
  double t_ns = 1e9;
  double joules = 0.0;
  for (powerprobe::Edge& edge : edges) {
    t_ns += jitter ? jittered_ms(uniform(random)) * 1e6 : 1e6;
    joules += 0.01 + 0.02 * uniform(random);
    edge.t_ns = static_cast<std::int64_t>(t_ns);
    edge.joules = joules;
    edge.gap_ns = 2000;
  }
  std::vector<std::int64_t> starts(kCount);
  std::vector<std::int64_t> ends(kCount);
  const auto span_ns = static_cast<double>(edges[kCount - 4].t_ns - edges[0].t_ns);
  for (std::int64_t& start : starts) start = edges[0].t_ns + static_cast<std::int64_t>(uniform(random) * span_ns);
  if (sorted) std::sort(starts.begin(), starts.end());
  for (std::size_t i = 0; i < kCount; ++i) ends[i] = starts[i] + static_cast<std::int64_t>(uniform(random) * 2e6);
  if (sorted) std::sort(ends.begin(), ends.end());

  const auto ours = [&] {
    const std::int64_t begin = powerprobe::now_ns();
    const FreshArray<double> joules_out;
    const FreshArray<double> lower;
    const FreshArray<double> upper;
    const FreshArray<std::uint32_t> flags;
    const powerprobe::IntervalsRange range = powerprobe::intervals_range(starts, ends);
    if (range.backwards >= 0 || range.last_ns > powerprobe::last_answerable_ns(edges)) throw std::logic_error("bad intervals");
    powerprobe::energies_between(edges, {.quantum_joules = 6e-5, .max_watts = 500.0}, starts, ends, range.sorted,
                                 {joules_out.span(), lower.span(), upper.span(), flags.span()});
    return static_cast<double>(powerprobe::now_ns() - begin) / kCount;
  };
  const auto limit = [&] {
    const std::int64_t begin = powerprobe::now_ns();
    const FreshArray<double> first;
    const FreshArray<double> second;
    const FreshArray<double> third;
    const FreshArray<std::uint32_t> fourth;
    for (std::size_t i = 0; i < kCount; ++i) {
      first.span()[i] = static_cast<double>(starts[i]);
      second.span()[i] = static_cast<double>(ends[i]);
      third.span()[i] = edges[i].joules;
      fourth.span()[i] = edges[i].flags;
    }
    return static_cast<double>(powerprobe::now_ns() - begin) / kCount;
  };
  pairs(rounds, "limit: the same bytes moved in order", ours, limit);
  return 0;
}

}  // namespace bench
