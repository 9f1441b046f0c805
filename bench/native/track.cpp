// SPDX-License-Identifier: MIT
// A counter that steps about once a millisecond, tracked: how far from the truth its steps are placed, how many are seen as they
// come, and what that costs.
#include <cstdint>
#include <cstdio>
#include <memory>
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

// The gap of an edge that was seen as it came, on almost any machine.
constexpr std::uint32_t kTightNs = 10'000;

std::unique_ptr<KnownSource> open(std::string_view counter, std::int64_t for_ns) {
  if (counter == "one-watt") return std::make_unique<OneWattCounter>(for_ns);
  return std::make_unique<SimulatedCounter>(counter, "const", for_ns, 1);
}

void print(const KnownSource& source, const std::vector<powerprobe::Edge>& steps, double cpu_share) {
  std::vector<double> all_us;
  std::vector<double> tight_us;
  for (const powerprobe::Edge& edge : steps) {
    all_us.push_back(error_us(source, edge));
    if (edge.gap_ns <= kTightNs) tight_us.push_back(all_us.back());
  }
  std::printf(
      "{\"median_us\": %.4g, \"p99_us\": %.4g, \"tight_median_us\": %.4g, \"tight_p99_us\": %.4g, \"caught_share\": %.4g, "
      "\"cpu_share\": %.4g}\n",
      quantile(all_us, 0.5), quantile(all_us, 0.99), quantile(tight_us, 0.5), quantile(tight_us, 0.99), caught_share(source, steps),
      cpu_share);
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
