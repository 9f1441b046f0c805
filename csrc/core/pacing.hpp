// SPDX-License-Identifier: MIT
// When to look while somebody asks: what a tracking sampler tells of each poll, and what it is told. Two ways of doing it follow:
// Pacer for counters that step about every millisecond and are cheap to read, SlowPacer for those that are read rarely.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace powerprobe {

// What one poll saw of one channel.
struct Sight {
  bool stepped = false;      // the counter moved since the poll before, at some moment within (t_ns - gap_ns, t_ns]
  bool ended = false;        // it will never move again
  std::int64_t t_ns = 0;
  std::int64_t gap_ns = 0;
};

// What tracking a channel has come to. Any thread.
struct PaceStats {
  std::uint64_t caught = 0;   // steps that were waited for and seen as they came
  std::uint64_t spaced = 0;   // steps that were waited for with pauses between the polls
  std::uint64_t late = 0;     // steps that were waited for and had come before
  std::uint64_t skipped = 0;  // steps that the budget did not allow to wait for
  std::int64_t period_ns = 0;  // learned; 0: not yet
  std::int64_t spread_ns = 0;  // how far from where they are expected steps come, on average
  std::int64_t guard_ns = 0;   // how long before that it wakes up
};

class Pacing {
 public:
  Pacing() = default;
  Pacing(const Pacing&) = delete;
  Pacing& operator=(const Pacing&) = delete;
  virtual ~Pacing() = default;

  // Somebody asks again.
  virtual void activate(std::int64_t now_ns) noexcept = 0;

  // A poll took from before_ns to after_ns. Says when the next is due: at or before after_ns means at once. kPlan: nothing is
  // waited for without a pause; plan() tells.
  static constexpr std::int64_t kPlan = INT64_MAX;
  virtual std::int64_t polled(std::int64_t before_ns, std::int64_t after_ns, std::span<const Sight> sights) noexcept = 0;

  // When the next poll is due. cpu_ns: CPU time that the sampler has used so far. `hurry`: somebody waits for the next steps,
  // which are not let pass even if the budget is overdrawn.
  virtual std::int64_t plan(std::int64_t now_ns, std::int64_t cpu_ns, bool hurry) noexcept = 0;

  // The same for somebody who comes while the sampler sleeps.
  virtual std::int64_t hurry(std::int64_t now_ns) noexcept = 0;

  // Whether every counter that can be was located since activate().
  [[nodiscard]] virtual bool is_in_step() const noexcept = 0;

  // A step whose gap is longer than this was not seen as it came.
  [[nodiscard]] virtual std::int64_t tight_ns() const noexcept = 0;

  [[nodiscard]] virtual PaceStats stats(std::size_t channel) const noexcept = 0;  // any thread
};

}  // namespace powerprobe
