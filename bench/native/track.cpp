// SPDX-License-Identifier: MIT
// A counter that steps about once a millisecond, tracked: how far from the truth its steps are placed, how many are seen as they
// come, and what that costs.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "counter.hpp"
#include "known.hpp"
#include "one_watt.hpp"
#include "pairs.hpp"
#include "simulated.hpp"
#include "windows.hpp"

namespace bench {
namespace {

constexpr std::int64_t kWindowNs = 500'000'000;

// As near as that an edge must be to its step to have caught it. Edges that say so themselves have a gap of twice that at most.
constexpr double kCaughtUs = 5.0;

std::unique_ptr<KnownSource> open(std::string_view counter, std::int64_t for_ns) {
  if (counter == "one-watt") return std::make_unique<OneWattCounter>(for_ns);
  return std::make_unique<SimulatedCounter>(counter, "const", for_ns, 1);
}

void print(const KnownSource& source, const std::vector<powerprobe::Edge>& steps, double cpu_share) {
  if (steps.size() < 2) throw std::runtime_error("the sampler saw no steps: this machine is too busy");
  std::vector<double> all_us;
  std::vector<double> tight_us;
  std::int64_t caught = 0;
  for (const powerprobe::Edge& edge : steps) {
    const std::int64_t place_ns = edge.t_ns - edge.gap_ns / 2;
    const double error_us = 1e-3 * std::abs(static_cast<double>(place_ns - source.step_ns(source.step_of(edge))));
    all_us.push_back(error_us);
    if (1e-3 * edge.gap_ns <= 2 * kCaughtUs) tight_us.push_back(error_us);
    if (error_us <= kCaughtUs) ++caught;
  }
  const std::int64_t came = source.step_of(steps.back()) - source.step_of(steps.front()) + 1;
  std::printf(
      "{\"median_us\": %.4g, \"p99_us\": %.4g, \"tight_median_us\": %.4g, \"tight_p99_us\": %.4g, \"caught_share\": %.4g, "
      "\"cpu_share\": %.4g}\n",
      quantile(all_us, 0.5), quantile(all_us, 0.99), quantile(tight_us, 0.5), quantile(tight_us, 0.99),
      static_cast<double>(caught) / static_cast<double>(came), cpu_share);
}

}  // namespace

int track(int rounds, std::string_view counter, bool realtime) {
  stay_on_one_cpu();
  auto source = open(counter, longest_ns(rounds, kWindowNs));
  const KnownSource& known = *source;
  powerprobe::Sampler sampler(std::move(source), 0, {.mode = powerprobe::Mode::kTrack, .realtime = realtime});
  const std::vector<Window> windows = track_for(sampler, rounds, kWindowNs);
  std::printf("{\"what\": \"%s\"}\n", known.what().c_str());
  const powerprobe::Lease lease = sampler.ring(0)->lease();
  for (const Window& window : windows) print(known, steps_in(lease.edges(), window), window.cpu_share);
  return 0;
}

}  // namespace bench
