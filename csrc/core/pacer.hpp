// SPDX-License-Identifier: MIT
// When to look: decides for a tracking sampler at which instant it polls next, so that the counters' steps are seen within a
// microsecond for a small share of a core. A state machine without a clock and a thread: it is told what each poll saw and says
// when the next one is due.
//
// Each channel is waited for on its own: the pacer wakes a guard before its next expected step and polls without a pause until
// it comes (a *burst*; whatever else steps meanwhile is seen as well). The guard is as long as all but a few of the last
// wake-ups needed, late thread and early step together, as far as that pays. Every burst is paid for from the channel's share of
// the CPU budget; while that is overdrawn its steps are let pass, so that it catches every n-th. Where that would be few of them,
// because nobody can tell when they come, it polls with pauses instead, as short as the budget allows: every step seen to a
// tenth of a millisecond is worth more than every eighth seen to a microsecond. Being late costs accuracy, never energy.
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

// How long a sampler had to wake up before an expected step in order to be there when it came: the last some dozen times.
class Guard {
 public:
  void needed(std::int64_t ns) noexcept;

  // Long enough for 61 of the last 64, if wake_ns for waking up and the polling until the step fit into budget_ns for each step.
  // Else as long as gets the most steps for the budget: where now and then the thread is held up for long, a guard that is long
  // enough for that too would cost more steps, let pass, than it catches.
  [[nodiscard]] std::int64_t ns(std::int64_t wake_ns, double budget_ns) noexcept;

 private:
  static constexpr std::size_t kWindow = 64;
  static constexpr std::size_t kAllowedLate = 3;
  static constexpr std::size_t kFew = 16;  // say little about the worst
  static constexpr std::int64_t kFirstGuardNs = 100'000;  // a guess: a kernel timer's usual slack of 50 us, twice

  std::array<std::int64_t, kWindow> needs_{};
  std::size_t next_ = 0;
  std::size_t count_ = 0;
  std::size_t fresh_ = 0;  // needs since the guard was chosen
  std::int64_t guard_ns_ = kFirstGuardNs;
};

class Pacer : public Pacing {
 public:
  // `budget`: share of one core that all channels together may take, above 0. `period_ns`: for what has no steps to wait for.
  Pacer(std::span<const ChannelInfo> channels, double budget, std::int64_t period_ns);

  // Every counter that moves is waited for at once, for a step or (when its period was never learned) two.
  void activate(std::int64_t now_ns) noexcept override;
  std::int64_t polled(std::int64_t before_ns, std::int64_t after_ns, std::span<const Sight> sights) noexcept override;
  std::int64_t plan(std::int64_t now_ns, std::int64_t cpu_ns, bool hurry) noexcept override;
  std::int64_t hurry(std::int64_t now_ns) noexcept override;
  [[nodiscard]] bool is_in_step() const noexcept override { return !is_activating_; }
  [[nodiscard]] std::int64_t tight_ns() const noexcept override { return 3 * read_ns_ + 5'000; }
  [[nodiscard]] PaceStats stats(std::size_t channel) const noexcept override;

 private:
  enum class Kind : std::uint8_t {
    kSteps,    // a counter that steps
    kStamped,  // one whose steps the hardware stamps: one look after each is enough
    kPlain,    // an estimate, which moves whenever it is read, or what says itself when it was: nothing to wait for
  };

  struct Pace {
    Pace(Kind the_kind, std::int64_t usual_period_ns) noexcept : kind(the_kind), cadence(usual_period_ns) {}
    Kind kind;
    Cadence cadence;
    Guard needs;
    std::int64_t guard_ns = 0;     // as last chosen
    std::int64_t allowed_ns = 0;   // the budget is overdrawn until then
    std::int64_t charged_ns = 0;   // when it last was
    double usage = 0.0;            // share of a core that it took lately
    std::int64_t wake_ns = 0;      // when it is to be waited for, or looked at
    std::int64_t expected_ns = 0;  // the step that is waited for; 0: any
    std::int64_t began_ns = 0;     // to wait for it
    std::int64_t give_up_ns = 0;
    std::int64_t last_step_ns = 0;  // seen at all, well or not
    std::int64_t last_gap_ns = 0;
    std::int64_t hole_ns = 0;       // the longest time between two polls since then
    std::int64_t pause_ns = 0;      // between two polls while it is waited for; 0: none
    std::int64_t wait_ns = 100'000;  // how long it is waited for, on average
    std::int64_t located_ns = 0;    // the last step that was located
    std::int64_t passed_ns = 0;     // the last step that is known to be over: when it came, or was to come
    std::uint32_t steps_wanted = 1;  // until the wait is over
    std::uint32_t fruitless = 0;     // waits in a row in which it did not move at all
    std::int64_t sightings = 0;      // how often it was seen to have moved since the last step that was located
    std::uint32_t late_since = 0;    // steps that it came late for since the last that was located
    bool is_waited_for = false;
    bool only_looked_at = false;  // at wake_ns, without waiting
    bool is_next = false;         // expected_ns is the first step after the last poll
    bool was_looked_at = false;   // since the wait began: its old value is known
    bool has_moved = false;       // since the wait began
    bool is_unbroken = false;     // every step since the last that was located was, too
    bool is_coarse = false;       // where it steps is known from looks with pauses only
    bool is_charged = false;      // for the burst
    bool has_ended = false;
    Count caught, spaced, late, skipped, period, spread, guard;
  };

  [[nodiscard]] bool rests(const Pace& pace) const noexcept;
  [[nodiscard]] static bool is_slow(const Pace& pace) noexcept;
  [[nodiscard]] static std::int64_t patience_ns(const Pace& pace) noexcept;
  static std::int64_t next_ns(const Pace& pace, std::int64_t t_ns) noexcept;
  static std::int64_t pause_ns(const Pace& pace, std::int64_t now_ns) noexcept;
  void begin(Pace& pace, std::int64_t now_ns, bool at_once) noexcept;
  void see(Pace& pace, const Sight& sight) noexcept;
  void locate(Pace& pace, std::int64_t place_ns, bool is_tight) noexcept;
  void give_up(Pace& pace) noexcept;
  void finish(Pace& pace) noexcept;
  [[nodiscard]] bool can_be_helped(const Pace& pace) const noexcept;
  void come_late(Pace& pace) noexcept;
  void charge(std::int64_t now_ns, std::int64_t cpu_ns) noexcept;
  void plan(Pace& pace, std::int64_t now_ns, bool hurry) noexcept;
  [[nodiscard]] double share() const noexcept;
  [[nodiscard]] double available(const Pace& pace) const noexcept;
  [[nodiscard]] std::int64_t affordable_pause_ns(const Pace& pace) const noexcept;
  std::int64_t due(std::int64_t now_ns) noexcept;

  std::deque<Pace> paces_;  // a deque because what others look at in it cannot be moved
  double budget_;
  std::int64_t period_ns_;
  std::int64_t allowed_ns_ = 0;      // the budget of all together is overdrawn until then
  std::int64_t due_ns_ = 0;          // when the next poll is due, as was said last; 0: nothing was said
  std::int64_t before_ns_ = 0;       // begin of the last poll
  std::int64_t polled_ns_ = 0;       // its end
  std::int64_t latency_ns_ = 0;      // how late the last poll came that was not at once
  std::int64_t read_ns_ = 1'000;     // how long a poll takes, in bursts
  std::int64_t cpu_ns_ = 0;          // when last planned
  std::int64_t polling_ns_ = 0;      // spent in polls since then
  std::int64_t sleeps_ = 0;          // since then
  std::int64_t wake_cpu_ns_ = 10'000;  // what going to sleep and waking up takes
  bool is_activating_ = false;
};

}  // namespace powerprobe
