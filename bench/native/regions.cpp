// SPDX-License-Identifier: MIT
// Regions of any length, anywhere: how far from the truth their energy is as powerprobe has it, as two readings at their ends have
// it, and as samples every 10 ms have it. The other two are given perfect readings: no delay, no jitter, no cost.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/series.hpp"
#include "counter.hpp"
#include "pairs.hpp"
#include "simulated.hpp"
#include "windows.hpp"

namespace bench {
namespace {

constexpr std::int64_t kWindowNs = 500'000'000;
constexpr std::int64_t kLengthsUs[] = {50, 200, 1'000, 5'000, 20'000, 100'000};
constexpr std::size_t kRegions = 500;
constexpr std::int64_t kSampleNs = 10'000'000;

// The counter at t_ns as who samples it every 10 ms has it.
double interpolated(const SimulatedCounter& counter, std::int64_t t_ns) {
  const std::int64_t before_ns = t_ns / kSampleNs * kSampleNs;
  const double before = counter.shown_joules(before_ns);
  const double after = counter.shown_joules(before_ns + kSampleNs);
  return before + (after - before) * static_cast<double>(t_ns - before_ns) / kSampleNs;
}

// The error of one of them, in percent of the truth, for all regions of a length.
class Errors {
 public:
  void add(double joules, double truth) { percent_.push_back(100.0 * std::abs(joules - truth) / truth); }
  [[nodiscard]] double median() const { return quantile(percent_, 0.5); }
  [[nodiscard]] double p90() const { return quantile(percent_, 0.9); }

 private:
  std::vector<double> percent_;
};

struct Regions {
  std::vector<std::int64_t> starts, ends;
  std::vector<double> joules, lower, upper;

  Regions(const Window& window, std::int64_t length_ns, std::mt19937_64& random)
      : joules(kRegions), lower(kRegions), upper(kRegions) {
    // Up to a tenth shorter or longer: where both ends lie alike between two steps, what two readings miss cancels out, and work
    // does not take whole milliseconds.
    std::uniform_int_distribution<std::int64_t> length(length_ns * 9 / 10, length_ns * 11 / 10);
    std::uniform_int_distribution<std::int64_t> start(window.begin_ns, window.end_ns - length.max());
    for (std::size_t i = 0; i < kRegions; ++i) {
      starts.push_back(start(random));
      ends.push_back(starts.back() + length(random));
    }
  }
};

void print(const SimulatedCounter& counter, const Regions& regions, std::int64_t length_us, double caught) {
  constexpr double kRounding = 1e-9;  // of sums of doubles; a count is 60,000 times that
  Errors ours;
  Errors ends;
  Errors samples;
  std::vector<double> widths;
  int outside = 0;
  for (std::size_t i = 0; i < kRegions; ++i) {
    const std::int64_t start = regions.starts[i];
    const std::int64_t end = regions.ends[i];
    const double truth = counter.true_joules(end) - counter.true_joules(start);
    ours.add(regions.joules[i], truth);
    ends.add(counter.shown_joules(end) - counter.shown_joules(start), truth);
    samples.add(interpolated(counter, end) - interpolated(counter, start), truth);
    widths.push_back(100.0 * (regions.upper[i] - regions.lower[i]) / truth);
    if (truth < regions.lower[i] - kRounding || truth > regions.upper[i] + kRounding) ++outside;
  }
  std::printf(
      "{\"length_us\": %lld, \"ours\": %.5g, \"ours_p90\": %.5g, \"ends\": %.5g, \"ends_p90\": %.5g, \"lerp10ms\": %.5g, "
      "\"lerp10ms_p90\": %.5g, \"width\": %.5g, \"outside\": %d, \"regions\": %zu, \"caught_share\": %.4g}\n",
      static_cast<long long>(length_us), ours.median(), ours.p90(), ends.median(), ends.p90(), samples.median(), samples.p90(),
      quantile(widths, 0.5), outside, kRegions, caught);
}

}  // namespace

int regions(int rounds, std::string_view load, std::string_view steps) {
  stay_on_one_cpu();
  auto source = std::make_unique<SimulatedCounter>(steps, load, longest_ns(rounds, kWindowNs), 1);
  const SimulatedCounter& counter = *source;
  powerprobe::Sampler sampler(std::move(source), 0, {.mode = powerprobe::Mode::kTrack});
  const std::vector<Window> windows = track_for(sampler, rounds, kWindowNs);
  std::printf("{\"what\": \"%s\"}\n", counter.what().c_str());
  const powerprobe::Lease lease = sampler.ring(0)->lease();
  const powerprobe::EnergyModel model = powerprobe::EnergyModel::of(counter.channels().front());
  std::mt19937_64 random(20240601);
  for (const Window& window : windows) {
    const double caught = caught_share(counter, steps_in(lease.edges(), window));
    for (const std::int64_t length_us : kLengthsUs) {
      Regions asked(window, 1000 * length_us, random);
      powerprobe::energies_between(lease.edges(), model, asked.starts, asked.ends, false,
                                   {asked.joules, asked.lower, asked.upper});
      print(counter, asked, length_us, caught);
    }
  }
  return 0;
}

}  // namespace bench
