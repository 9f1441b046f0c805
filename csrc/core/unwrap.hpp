// SPDX-License-Identifier: MIT
// From raw counts that wrap to one total that only grows. Pure arithmetic; used by a sampler for each of its channels.
#pragma once

#include <cstdint>

namespace powerprobe {

enum class Step : std::uint8_t {
  kFirst,      // nothing to compare with yet
  kStill,      // the counter has not moved
  kPlain,      // it moved forward
  kWrapped,    // it passed its modulus
  kReset,      // it jumped as no load can make it: what it counted since the last reading is lost
};

// One counter. `modulus` is the counts until it is back at zero (0: it never is). `max_watts` decides between a wrap and a
// reset (0: unknown, then a wrap is believed up to half the modulus). `stale_ns` is how old a value read may be, which adds
// to the time in which the energy of a step may have gathered.
class Unwrapper {
 public:
  Unwrapper(std::uint64_t modulus, double joules_per_count, double max_watts, std::int64_t stale_ns) noexcept
      : modulus_(modulus), joules_per_count_(joules_per_count), max_watts_(max_watts), stale_ns_(stale_ns) {}

  // The raw count read at t_ns. Differences are modular: a count below the last one is a wrap where the counter has a modulus
  // and the energy is possible, else a reset. (perf's RAPL counts fall by one modulus both at 200 W unread, where its driver
  // adds a signed 32-bit difference, and at a wrap of the TPMI driver; both mend themselves here.)
  // A reading that took read_ns and was over at t_ns may show the counter as it was when it began.
  Step feed(std::uint64_t raw, std::int64_t t_ns, std::int64_t read_ns = 0) noexcept {
    const std::int64_t begin_ns = t_ns - read_ns;
    if (!started_) {
      started_ = true;
      previous_ = raw;
      previous_begin_ns_ = begin_ns;
      return Step::kFirst;
    }
    const std::int64_t elapsed_ns = t_ns - previous_begin_ns_ + stale_ns_;
    ambiguous_ = modulus_ != 0 && max_watts_ > 0.0 && energy_limit(elapsed_ns) >= joules(modulus_);
    Step step = Step::kReset;
    std::uint64_t delta = 0;
    if (raw == previous_) {
      step = Step::kStill;
    } else if (raw > previous_) {
      delta = raw - previous_;
      if (max_watts_ <= 0.0 || joules(delta) <= energy_limit(elapsed_ns)) step = Step::kPlain;
    } else if (modulus_ != 0 && previous_ - raw < modulus_) {
      delta = modulus_ - (previous_ - raw);
      const bool possible = max_watts_ > 0.0 ? joules(delta) <= energy_limit(elapsed_ns) : delta <= modulus_ / 2;
      if (possible) step = Step::kWrapped;
    }
    if (step == Step::kPlain || step == Step::kWrapped) total_ += delta;
    previous_ = raw;
    previous_begin_ns_ = begin_ns;
    return step;
  }

  // Counts since the first reading, without those that a reset lost.
  [[nodiscard]] std::uint64_t total() const noexcept { return total_; }

  // Whether the last reading came so late that more wraps than were seen cannot be ruled out.
  [[nodiscard]] bool ambiguous() const noexcept { return ambiguous_; }

 private:
  [[nodiscard]] double joules(std::uint64_t counts) const noexcept {
    return static_cast<double>(counts) * joules_per_count_;
  }
  [[nodiscard]] double energy_limit(std::int64_t elapsed_ns) const noexcept {
    return max_watts_ * static_cast<double>(elapsed_ns) * 1e-9;
  }

  std::uint64_t modulus_;
  double joules_per_count_;
  double max_watts_;
  std::int64_t stale_ns_;
  std::uint64_t previous_ = 0;
  std::int64_t previous_begin_ns_ = 0;
  std::uint64_t total_ = 0;
  bool started_ = false;
  bool ambiguous_ = false;
};

}  // namespace powerprobe
