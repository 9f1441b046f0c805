// SPDX-License-Identifier: MIT
#include "windows.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <stdexcept>

#include "core/clock.hpp"

namespace bench {
namespace {

constexpr std::int64_t kLearnNs = 700'000'000;
constexpr std::int64_t kSettleNs = 60'000'000;

void sleep_ns(std::int64_t ns) { ::usleep(static_cast<useconds_t>(ns / 1000)); }

}  // namespace

std::int64_t longest_ns(int windows, std::int64_t window_ns) {
  return 2 * (kLearnNs + windows * window_ns + kSettleNs) + 2'000'000'000;
}

std::vector<Window> track_for(powerprobe::Sampler& sampler, int windows, std::int64_t window_ns) {
  const std::int64_t started_ns = powerprobe::now_ns();
  std::vector<Window> result;
  sampler.start();
  sampler.ask();
  sleep_ns(kLearnNs);
  for (int i = 0; i < windows; ++i) {
    const std::int64_t begin_ns = powerprobe::now_ns();
    const std::int64_t cpu_ns = sampler.stats().cpu_ns;
    sleep_ns(window_ns);
    const std::int64_t end_ns = powerprobe::now_ns();
    const std::int64_t used_ns = sampler.stats().cpu_ns - cpu_ns;
    result.push_back({begin_ns, end_ns, static_cast<double>(used_ns) / static_cast<double>(end_ns - begin_ns)});
  }
  sleep_ns(kSettleNs);
  sampler.release();
  sampler.stop();
  if (powerprobe::now_ns() - started_ns > longest_ns(windows, window_ns)) throw std::runtime_error("this machine is too busy");
  return result;
}

std::vector<powerprobe::Edge> steps_in(std::span<const powerprobe::Edge> edges, const Window& window) {
  std::vector<powerprobe::Edge> steps;
  for (const powerprobe::Edge& edge : edges) {
    const bool is_step = (edge.flags & (powerprobe::kEdgeFirst | powerprobe::kEdgeQuiet)) == 0;
    if (is_step && edge.t_ns >= window.begin_ns && edge.t_ns < window.end_ns) steps.push_back(edge);
  }
  return steps;
}

double error_us(const KnownSource& source, const powerprobe::Edge& edge) {
  const std::int64_t place_ns = edge.t_ns - edge.gap_ns / 2;
  return 1e-3 * std::abs(static_cast<double>(place_ns - source.step_ns(source.step_of(edge))));
}

double caught_share(const KnownSource& source, std::span<const powerprobe::Edge> steps) {
  if (steps.size() < 2) throw std::runtime_error("the sampler saw no steps: this machine is too busy");
  const std::int64_t came = source.step_of(steps.back()) - source.step_of(steps.front()) + 1;
  const auto is_near = [&](const powerprobe::Edge& edge) { return error_us(source, edge) <= 5.0; };
  const auto caught = std::count_if(steps.begin(), steps.end(), is_near);
  return static_cast<double>(caught) / static_cast<double>(came);
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0.0;
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), nth, values.end());
  return *nth;
}

}  // namespace bench
