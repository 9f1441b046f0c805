// SPDX-License-Identifier: MIT
#include "core/relay_pacer.hpp"

#include <algorithm>

namespace powerprobe {
namespace {

// Often enough that a ring of a second does not go round meanwhile, and that the other process can be asked in time to go on.
constexpr std::int64_t kEasyNs = 20'000'000;

// Who waits for the next edge of a counter waits no more than this part of its period longer.
constexpr std::int64_t kPart = 4;
constexpr std::int64_t kSoonestNs = 100'000;

// Counters that step so rarely are not waited for when somebody begins, as those are not that can hang (Probe::wait_in_step()).
constexpr std::int64_t kSlowNs = 10'000'000;

constexpr std::int64_t kUsualPeriodNs = 1'000'000;

std::int64_t period_ns(const ChannelInfo& channel) noexcept {
  return channel.update_period_ns > 0 ? channel.update_period_ns : kUsualPeriodNs;
}

}  // namespace

RelayPacer::RelayPacer(std::span<const ChannelInfo> channels) : is_fresh_(channels.size()), soon_ns_(kEasyNs) {
  for (const ChannelInfo& channel : channels) {
    periods_ns_.push_back(channel.update_period_ns);
    is_slow_.push_back(period_ns(channel) > kSlowNs);
    soon_ns_ = std::min(soon_ns_, std::max(kSoonestNs, period_ns(channel) / kPart));
  }
}

void RelayPacer::activate(std::int64_t now_ns) noexcept {
  since_ns_ = now_ns;
  is_fresh_ = is_slow_;
  is_in_step_ = false;
}

std::int64_t RelayPacer::polled(std::int64_t /*before_ns*/, std::int64_t /*after_ns*/, std::span<const Sight> sights) noexcept {
  for (std::size_t i = 0; i < sights.size(); ++i) {
    if (sights[i].ended || sights[i].t_ns >= since_ns_) is_fresh_[i] = true;
  }
  is_in_step_ = std::all_of(is_fresh_.begin(), is_fresh_.end(), [](bool is_fresh) { return is_fresh; });
  return kPlan;
}

std::int64_t RelayPacer::plan(std::int64_t now_ns, std::int64_t /*cpu_ns*/, bool hurry) noexcept {
  return now_ns + (hurry || !is_in_step_ ? soon_ns_ : kEasyNs);
}

PaceStats RelayPacer::stats(std::size_t channel) const noexcept { return {.period_ns = periods_ns_[channel]}; }

}  // namespace powerprobe
