// SPDX-License-Identifier: MIT
#include "one_watt.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "counter.hpp"

namespace bench {
namespace {

constexpr std::int64_t kStepNs = 1'000'000;
constexpr std::int64_t kStepsPerStretch = 200;

// perf's counts begin here (csrc/sources/perf_event.hpp).
constexpr std::uint64_t kZero = std::uint64_t{1} << 63;

}  // namespace

OneWattCounter::OneWattCounter(std::int64_t for_ns) {
  const BareCounter like;
  if (!like.is_perf()) {
    throw powerprobe::Error(powerprobe::ErrorKind::kUnavailable, "there is no `msr` PMU here, or it may not be used");
  }
  clock_ = open_counter(like);
  readings_.resize(clock_->channels().size());
  const Sight begin = best_look();
  ::usleep(500'000);
  const Sight end = best_look();
  ns_per_tick_ = static_cast<double>(end.before_ns + end.after_ns - begin.before_ns - begin.after_ns) / 2.0 /
                 static_cast<double>(end.ticks - begin.ticks);
  ticks_per_step_ = std::llround(static_cast<double>(kStepNs) / ns_per_tick_);
  stretches_.resize(static_cast<std::size_t>((end.ticks / ticks_per_step_ + for_ns / kStepNs) / kStepsPerStretch) + 2);
  powerprobe::ChannelInfo info = clock_->channels().front();
  info.joules_per_count = 1e-9 * ns_per_tick_;
  info.quantum_joules = static_cast<double>(ticks_per_step_) * info.joules_per_count;
  info.update_period_ns = kStepNs;
  channels_.push_back(info);
}

OneWattCounter::Sight OneWattCounter::look() noexcept {
  Sight sight{};
  sight.before_ns = powerprobe::now_ns();
  clock_->read(readings_);
  sight.after_ns = powerprobe::now_ns();
  sight.ticks = static_cast<std::int64_t>(reading().count - kZero);
  return sight;
}

OneWattCounter::Sight OneWattCounter::best_look() noexcept {
  Sight best = look();
  for (int i = 0; i < 1000; ++i) {
    const Sight sight = look();
    if (sight.after_ns - sight.before_ns < best.after_ns - best.before_ns) best = sight;
  }
  return best;
}

std::size_t OneWattCounter::stretch_of(std::int64_t ticks) const noexcept {
  return std::min(static_cast<std::size_t>(ticks / ticks_per_step_ / kStepsPerStretch), stretches_.size() - 1);
}

void OneWattCounter::read(std::span<powerprobe::Reading> out) noexcept {
  const Sight sight = look();
  out[0] = reading();
  if (out[0].status != powerprobe::ReadStatus::kOk) return;
  const std::int64_t step = sight.ticks / ticks_per_step_;
  out[0].count = static_cast<std::uint64_t>(step * ticks_per_step_);
  if (first_step_ < 0) first_step_ = step;
  Stretch& stretch = stretches_[stretch_of(sight.ticks)];
  stretch.earliest_ns = std::max(stretch.earliest_ns, static_cast<double>(sight.before_ns) - after_zero_ns(sight.ticks));
  stretch.latest_ns = std::min(stretch.latest_ns, static_cast<double>(sight.after_ns) - after_zero_ns(sight.ticks));
}

std::int64_t OneWattCounter::step_of(const powerprobe::Edge& edge) const {
  return first_step_ + std::llround(edge.joules / channels_[0].quantum_joules);
}

std::int64_t OneWattCounter::step_ns(std::int64_t step) const {
  const std::int64_t ticks = step * ticks_per_step_;
  const Stretch& stretch = stretches_[stretch_of(ticks)];
  if (!stretch.is_known()) throw std::runtime_error("the counter was not read for 200 ms: this machine is too busy");
  return std::llround(after_zero_ns(ticks) + (stretch.earliest_ns + stretch.latest_ns) / 2.0);
}

std::string OneWattCounter::what() const {
  double widest_ns = 0.0;
  for (const Stretch& stretch : stretches_) {
    if (stretch.is_known()) widest_ns = std::max(widest_ns, stretch.latest_ns - stretch.earliest_ns);
  }
  return "perf's msr/tsc in whole milliseconds, whose steps are known to " +
         std::to_string(std::lround(widest_ns / 2.0)) + " ns either way";
}

}  // namespace bench
