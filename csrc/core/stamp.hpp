// SPDX-License-Identifier: MIT
// Places the hardware's own time stamps on CLOCK_MONOTONIC. Pure arithmetic; used by a sampler for stamped channels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace powerprobe {

// The device clock has an epoch of its own and wraps. Every step says where its offset to our clock can lie: the update came
// after the last reading that saw the old value and before the end of the reading that saw the new one. The map keeps the
// intersection of all these, widened by what the two clocks can drift apart, so it sharpens with every step and its answer
// is a proof and not a fit.
class StampMap {
 public:
  struct Located {
    std::int64_t t_ns;    // the update came within (t_ns - gap_ns, t_ns]
    std::int64_t gap_ns;
  };

  StampMap(double tick_ns, std::uint64_t modulus) noexcept : tick_ns_(tick_ns), modulus_(modulus) {}

  // The update stamped `stamp` came after after_ns and not after before_ns (CLOCK_MONOTONIC).
  Located locate(std::uint64_t stamp, std::int64_t after_ns, std::int64_t before_ns) noexcept {
    const std::uint64_t passed = !started_ ? 0 : stamp >= previous_ ? stamp - previous_ : stamp + modulus_ - previous_;
    ticks_ += passed;
    previous_ = stamp;
    const double device = static_cast<double>(ticks_) * tick_ns_;
    // The stamp is cut off to whole ticks: the update was up to one tick later than it says.
    const double low = static_cast<double>(after_ns) - device - tick_ns_;
    const double high = static_cast<double>(before_ns) - device;
    // Between this update and the one before, which came after that one's after_ns.
    const double drift = started_ ? kDrift * static_cast<double>(before_ns - previous_after_ns_) : 0.0;
    low_ = std::max(low_ - drift, low);
    high_ = std::min(high_ + drift, high);
    if (!started_ || low_ > high_) {  // the device's clock was set, or it wrapped unseen: start again
      low_ = low;
      high_ = high;
    }
    started_ = true;
    previous_after_ns_ = after_ns;
    const std::int64_t latest = std::min(before_ns, static_cast<std::int64_t>(device + high_ + tick_ns_) + 1);
    const std::int64_t earliest = std::max(after_ns, static_cast<std::int64_t>(device + low_) - 1);
    return {latest, std::max<std::int64_t>(latest - earliest, 0)};
  }

 private:
  // CLOCK_MONOTONIC is slewed by at most 500 ppm (kernel/time/ntp.c); 100 ppm for the device's crystal.
  static constexpr double kDrift = 600e-6;

  double tick_ns_;
  std::uint64_t modulus_;
  std::uint64_t previous_ = 0;
  std::uint64_t ticks_ = 0;
  std::int64_t previous_after_ns_ = 0;
  double low_ = -std::numeric_limits<double>::infinity();
  double high_ = std::numeric_limits<double>::infinity();
  bool started_ = false;
};

}  // namespace powerprobe
