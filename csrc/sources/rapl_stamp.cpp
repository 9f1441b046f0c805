// SPDX-License-Identifier: MIT
#include "sources/rapl_stamp.hpp"

#include "core/clock.hpp"

namespace powerprobe {
namespace {

constexpr std::int64_t kMostNs = 500'000;  // a look that took longer was preempted and says too little about the time
constexpr int kTries = 8;

constexpr std::uint32_t low(std::uint64_t value) { return static_cast<std::uint32_t>(value); }

}  // namespace

std::optional<StampLook> look_at_stamp(const ReadRegister& read, std::uint32_t energy_register,
                                       std::uint32_t stamp_register) {
  for (int i = 0; i < kTries; ++i) {
    StampLook look;
    std::uint64_t energy_before = 0;
    std::uint64_t energy_after = 0;
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    if (read(energy_register, energy_before) != 0) return std::nullopt;
    look.before_ns = now_ns();
    if (read(stamp_register, first) != 0) return std::nullopt;
    look.after_ns = now_ns();
    if (read(stamp_register, second) != 0 || read(energy_register, energy_after) != 0) return std::nullopt;

    // An update may come between any two of these reads, also one that wraps.
    if (low(first - energy_before) > low(energy_after - energy_before)) return std::nullopt;
    if (low(first) == low(second) && first != second) return std::nullopt;
    look.stamp = static_cast<std::uint32_t>(first >> 32);
    if (look.after_ns - look.before_ns <= kMostNs) return look;
  }
  return std::nullopt;
}

bool goes_like_the_clock(const StampLook& first, const StampLook& second, std::int64_t period_ns) {
  const double stamp_ns = static_cast<std::uint32_t>(second.stamp - first.stamp) * kStampTickNs;
  // Each stamp is older than its reading by up to a period, and periods jitter.
  const double slack_ns = 2.0 * static_cast<double>(period_ns);
  return stamp_ns > static_cast<double>(second.before_ns - first.after_ns) - slack_ns &&
         stamp_ns < static_cast<double>(second.after_ns - first.before_ns) + slack_ns;
}

}  // namespace powerprobe
