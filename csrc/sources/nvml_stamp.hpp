// SPDX-License-Identifier: MIT
// Whether the time stamps that the driver puts on its values say when a value was updated (then they tell when the counter
// stepped) or only when it was read, which the header leaves open. Decided by what is seen, never believed. Pure; used by a
// board's reader for each counter.
#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <utility>

#include "core/clock.hpp"

namespace powerprobe {

// How far the wall clock is ahead of CLOCK_MONOTONIC. The driver stamps with the wall clock, which may be set at any time.
class WallClock {
 public:
  // Call it right before the values are read.
  void look() noexcept {
    std::int64_t ahead_ns = 0;
    std::int64_t width_ns = INT64_MAX;
    // Held up between two clocks one tries again.
    for (int i = 0; i < 3 && width_ns > kTightNs; ++i) {
      timespec wall;
      const std::int64_t before_ns = now_ns();
      ::clock_gettime(CLOCK_REALTIME, &wall);
      const std::int64_t after_ns = now_ns();
      if (after_ns - before_ns >= width_ns) continue;
      width_ns = after_ns - before_ns;
      ahead_ns = static_cast<std::int64_t>(wall.tv_sec) * 1'000'000'000 + wall.tv_nsec - (before_ns + width_ns / 2);
    }
    set(ahead_ns, width_ns / 2 + 1);
  }
  void set(std::int64_t ahead_ns, std::int64_t unsure_ns) noexcept {
    moved_ns_ = known_ ? std::max(ahead_ns - ahead_ns_, ahead_ns_ - ahead_ns) : 0;
    ahead_ns_ = ahead_ns;
    unsure_ns_ = unsure_ns;
    known_ = true;
  }

  [[nodiscard]] std::int64_t monotonic_ns(std::int64_t wall_us) const noexcept { return wall_us * 1000 - ahead_ns_; }
  [[nodiscard]] std::int64_t wall_us(std::int64_t monotonic_ns) const noexcept { return (monotonic_ns + ahead_ns_) / 1000; }
  // How far off a stamp may be that was made since the look before: the clock may have been adjusted in between.
  [[nodiscard]] std::int64_t doubt_ns() const noexcept { return moved_ns_ + unsure_ns_; }

 private:
  static constexpr std::int64_t kTightNs = 1'000;
  bool known_ = false;
  std::int64_t ahead_ns_ = 0;
  std::int64_t moved_ns_ = 0;
  std::int64_t unsure_ns_ = 0;
};

class StampTrust {
 public:
  struct Look {
    std::uint64_t value = 0;
    std::int64_t stamp_us = 0;  // as the driver gave it
    std::int64_t latency_us = 0;
    std::int64_t before_ns = 0;  // the value was read between these two
    std::int64_t after_ns = 0;
  };
  // The value came within (at_ns - gap_ns, at_ns]. at_ns is 0 where that is not known.
  struct Step {
    std::int64_t at_ns = 0;
    std::int64_t gap_ns = 0;
  };

  Step look(const Look& now, const WallClock& wall) noexcept {
    const bool is_first = !std::exchange(started_, true);
    const std::int64_t old_seen_ns = std::exchange(seen_ns_, now.before_ns);
    const Look old = value_;
    const bool has_changed = is_first || now.value != old.value;
    if (has_changed) value_ = now;
    // After the clock was set stamps cannot be compared; those of this value will be by the next look.
    if (wall.doubt_ns() > kSlackNs) {
      value_ = now;
      rested_ = false;
      return {};
    }
    if (is_first || refuted_) return {};
    if (!has_changed) {
      refuted_ = now.stamp_us != old.stamp_us;
      rested_ = rested_ || now.before_ns - old.after_ns >= kApartNs;
      return {};
    }
    const std::int64_t stamp_ns = wall.monotonic_ns(now.stamp_us);
    refuted_ = now.stamp_us == old.stamp_us || stamp_ns < old_seen_ns - kSlackNs || stamp_ns > now.after_ns + wall.doubt_ns();
    // A value that was not seen at rest may have been stamped when it was read just as well: no evidence.
    if (std::exchange(rested_, false) && !refuted_ && proofs_ < kProofs) ++proofs_;
    return is_trusted() ? place(stamp_ns, old_seen_ns, now, wall) : Step{};
  }

  [[nodiscard]] bool is_trusted() const noexcept { return proofs_ == kProofs && !refuted_; }

 private:
  // So many changes must have been stamped as an update would be before a stamp is used. One contradiction ends it for good.
  static constexpr int kProofs = 8;
  // A driver may give the same answer for some milliseconds, stamps included; those of looks further apart would differ if they
  // told when the value was read.
  static constexpr std::int64_t kApartNs = 3'000'000;
  // A value may be shown so long after it was stamped.
  static constexpr std::int64_t kSlackNs = 1'000'000;
  static constexpr std::int64_t kUnitNs = 1'000;

  Step place(std::int64_t stamp_ns, std::int64_t old_seen_ns, const Look& now, const WallClock& wall) noexcept {
    const std::int64_t least_ns = std::max(old_seen_ns, last_at_ns_) + 1;
    // Stamps are in whole microseconds, cut off.
    const std::int64_t at_ns = std::clamp(stamp_ns + kUnitNs + wall.doubt_ns(), least_ns, std::max(least_ns, now.after_ns));
    const std::int64_t unsure_ns = kUnitNs + std::max<std::int64_t>(now.latency_us, 0) * 1000 + 2 * wall.doubt_ns();
    last_at_ns_ = at_ns;
    return {.at_ns = at_ns, .gap_ns = std::min(unsure_ns, at_ns - old_seen_ns)};
  }

  bool started_ = false;
  bool refuted_ = false;
  bool rested_ = false;       // the present value was seen twice, some time apart, with the same stamp
  int proofs_ = 0;
  Look value_;                // the first look at the present value
  std::int64_t seen_ns_ = 0;  // when the last look began
  std::int64_t last_at_ns_ = 0;
};

}  // namespace powerprobe
