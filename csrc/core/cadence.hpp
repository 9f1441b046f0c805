// SPDX-License-Identifier: MIT
// When a counter will step next, learned from the steps whose time is known well. Pure arithmetic; used by a pacer for each of its
// channels.
//
// Two ways of telling are kept, and the one that has been nearer lately is believed. Where every step comes one period after the
// step before, more or less (Ice Lake-SP: 0.68 to 1.65 ms), the last step says most. Where steps keep to a grid and only shake
// around it (AMD, Broadwell), a straight line through the last steps says more, because their shaking averages out.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace powerprobe {

class Cadence {
 public:
  // expected_ns: the period until one has been learned.
  explicit Cadence(std::int64_t expected_ns) noexcept : period_ns_(static_cast<double>(expected_ns)) {}

  // A step came at t_ns, later than the one before. `consecutive`: none can have been missed in between.
  void step(std::int64_t t_ns, bool consecutive) noexcept;

  // Nobody looked for a while: the period still holds, where in it the counter is does not.
  void lose_phase() noexcept { count_ = 0; }

  // What was learned was wrong.
  void unlearn() noexcept {
    count_ = pairs_ = 0;
    was_regular_ = false;
  }

  // Whether two steps in a row were ever seen, so that the period is the counter's own; and so often that it is well known.
  [[nodiscard]] bool is_learned() const noexcept { return pairs_ > 0; }
  [[nodiscard]] bool is_well_learned() const noexcept { return pairs_ >= kWindow || was_regular_; }
  [[nodiscard]] bool is_in_phase() const noexcept { return count_ > 0; }
  [[nodiscard]] double period_ns() const noexcept { return period_ns_; }
  // How far from where they were expected steps come, on average.
  [[nodiscard]] double spread_ns() const noexcept { return from_last_.error_ns < from_line_.error_ns ? from_last_.error_ns : from_line_.error_ns; }

  // Only while in phase. The first step expected after t_ns; the one expected nearest to it; the last that was seen.
  [[nodiscard]] std::int64_t next_ns(std::int64_t t_ns) const noexcept;
  [[nodiscard]] std::int64_t nearest_ns(std::int64_t t_ns) const noexcept;
  [[nodiscard]] std::int64_t last_ns() const noexcept { return steps_[newest_].t_ns; }

 private:
  // Enough that shaking averages out (to 0.35 of itself at the next step), short enough to follow a clock that is slewed.
  static constexpr std::size_t kWindow = 32;

  // Below this many steps in phase the period learned before is better than that of a line through them.
  static constexpr std::size_t kEnough = 8;

  struct Step {
    std::int64_t t_ns = 0;
    std::int64_t number = 0;
  };

  // Expects the steps at last_ns() + offset_ns + n * period_ns.
  struct Way {
    double offset_ns = 0.0;
    double period_ns = 0.0;
    double error_ns = 0.0;  // of its forecasts: mean size, the last sixteen or so
  };

  [[nodiscard]] const Way& believed() const noexcept { return from_last_.error_ns < from_line_.error_ns ? from_last_ : from_line_; }
  // Steps that stray further cannot be counted by the clock.
  [[nodiscard]] bool is_regular() const noexcept { return is_learned() && count_ >= kEnough && spread_ns() < period_ns_ / 8; }
  [[nodiscard]] std::int64_t steps_between(std::int64_t t_ns, bool consecutive) const noexcept;
  void fit() noexcept;

  std::array<Step, kWindow> steps_{};
  std::size_t newest_ = 0;
  std::size_t count_ = 0;  // of steps_, since the phase was lost
  double period_ns_;
  std::size_t pairs_ = 0;  // of steps in a row; no more than kWindow
  bool was_regular_ = false;
  Way from_last_, from_line_;
};

}  // namespace powerprobe
