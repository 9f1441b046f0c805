// SPDX-License-Identifier: MIT
// When made-up counters step: as those of real processors were seen to. For tests in virtual time and for bench/ in real time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace powerprobe::test {

constexpr std::int64_t kMicro = 1'000;
constexpr std::int64_t kMilli = 1'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;

// The instants at which a counter steps, in order, until after_ns and a little beyond.
using Steps = std::vector<std::int64_t>;

// Every period, shaken by up to jitter_ns either way: AMD and Broadwell are like that.
inline Steps grid(std::int64_t period_ns, std::int64_t jitter_ns, std::int64_t until_ns, std::int64_t phase_ns = 0, unsigned seed = 1) {
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<std::int64_t> jitter(-jitter_ns, jitter_ns);
  Steps steps;
  for (std::int64_t t = phase_ns + period_ns; t < until_ns + 10 * period_ns; t += period_ns) steps.push_back(t + jitter(random));
  return steps;
}

// Each as long after the one before as those of Ice Lake-SP: quantiles of 9997 steps of a package counter, published with Alt et
// al., "RAPL validation" (ICPE 2024).
inline Steps ice_lake(std::int64_t until_ns, unsigned seed = 1) {
  constexpr double kQuantile[] = {0.0, 0.01, 0.50, 0.938, 0.95, 0.99, 1.0};
  constexpr double kStepMs[] = {0.60, 0.68, 0.88, 1.50, 1.52, 1.65, 2.83};
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  Steps steps;
  double t = 0.0;
  while (t < static_cast<double>(until_ns + 10 * kMilli)) {
    const double u = uniform(random);
    std::size_t i = 1;
    while (kQuantile[i] < u) ++i;
    t += 1e6 * (kStepMs[i - 1] + (kStepMs[i] - kStepMs[i - 1]) * (u - kQuantile[i - 1]) / (kQuantile[i] - kQuantile[i - 1]));
    steps.push_back(static_cast<std::int64_t>(t));
  }
  return steps;
}

}  // namespace powerprobe::test
