// SPDX-License-Identifier: MIT
// When to look at counters that step every 20 to 100 ms and are dear to read (GPUs): shortly before the step that is expected next,
// then with pauses until it was seen. A state machine without a clock and a thread, like Pacer.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>

#include "core/cadence.hpp"
#include "core/count.hpp"
#include "core/pacing.hpp"
#include "core/source.hpp"

namespace powerprobe {

class SlowPacer : public Pacing {
 public:
  // `budget`: share of one core that all channels together may take, above 0. The longest least_pause_ns of the channels is
  // between any two polls.
  SlowPacer(std::span<const ChannelInfo> channels, double budget);

  void activate(std::int64_t now_ns) noexcept override;
  std::int64_t polled(std::int64_t before_ns, std::int64_t after_ns, std::span<const Sight> sights) noexcept override;
  std::int64_t plan(std::int64_t now_ns, std::int64_t cpu_ns, bool hurry) noexcept override;
  std::int64_t hurry(std::int64_t now_ns) noexcept override;
  [[nodiscard]] bool is_in_step() const noexcept override { return true; }  // nobody would want to wait for it
  [[nodiscard]] std::int64_t tight_ns() const noexcept override { return 2 * pause_ns_ + 2 * read_ns_; }
  [[nodiscard]] PaceStats stats(std::size_t channel) const noexcept override;

 private:
  struct Pace {
    Pace(bool steps, std::int64_t usual_period_ns) noexcept : has_steps(steps), cadence(usual_period_ns) {}
    bool has_steps;  // else it is a power reading, looked at often enough that none passes unseen
    Cadence cadence;
    std::array<std::int64_t, 16> needs{};  // how long before the expected step a look was needed, the last times
    std::size_t next_need = 0;
    std::int64_t reach_ns = 0;   // how long before the expected step it is looked at: the longest of them, and a pause
    std::int64_t place_ns = 0;   // of the last step that was seen
    std::int64_t passed_ns = 0;  // the expected step that was let pass
    std::int64_t moved_ns = 0;   // when it was last seen to have moved, or somebody began to ask
    std::uint32_t doubt = 0;  // that it steps where it is expected
    bool was_located = false;    // the last step that was seen
    bool is_stamped = false;     // its place is known however late one looks
    bool has_ended = false;
    Count caught, late, skipped, period, spread, guard;
  };

  void see(Pace& pace, const Sight& sight, std::int64_t before_last_ns) noexcept;
  void come_late(Pace& pace) noexcept;
  void locate(Pace& pace, std::int64_t place_ns) noexcept;
  void need(Pace& pace, std::int64_t ns) const noexcept;
  [[nodiscard]] std::int64_t due(Pace& pace, std::int64_t now_ns, bool hurry) const noexcept;
  [[nodiscard]] std::int64_t due(std::int64_t now_ns, bool hurry) noexcept;

  std::deque<Pace> paces_;  // a deque because what others look at in it cannot be moved
  double budget_;
  std::int64_t pause_ns_ = 0;
  std::int64_t read_ns_ = 0;     // how long a poll takes
  std::int64_t before_ns_ = 0;   // begin of the last poll
  std::int64_t polled_ns_ = 0;   // its end
  std::int64_t cpu_ns_ = 0;      // when last planned
  std::int64_t allowed_ns_ = 0;  // the budget is overdrawn until then
};

}  // namespace powerprobe
