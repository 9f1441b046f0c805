// SPDX-License-Identifier: MIT
// A marked instant: the running totals of all channels at it, filled in by the samplers as soon as the edges after it are in.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "core/series.hpp"

namespace powerprobe {

enum class MarkState : std::uint8_t {
  kPending,    // the edge after the instant has not come yet
  kKnown,      // the point is complete
  kUnsettled,  // no edge came in time: the counter could not be read, or the sampler was stopped
  kOutside,    // the instant lies before the channel's first edge or is older than its ring
  kGone,       // the channel ended before the instant
};

// A mark costs its maker a time stamp and never waits. Because the samplers fill it in while the edges around it are still in
// the ring, an interval between two marks may be longer than any history.
//
// Written by the samplers (each its own slots), read by whoever waited:
//   done   sampler: remaining_.fetch_sub(release)  ->  asker: remaining_.load(acquire)
//          who sees no sampler remaining sees all points.
class Mark {
 public:
  struct Slot {
    Point point;
    MarkState state = MarkState::kPending;
    // Of the channel by then: what happens between two marks may be long gone from the ring.
    std::uint64_t wraps = 0;
    std::uint64_t dropped = 0;
  };

  Mark(std::int64_t t_ns, std::size_t channels, std::uint32_t samplers)
      : t_ns_(t_ns), slots_(channels), remaining_(samplers) {}

  [[nodiscard]] std::int64_t t_ns() const noexcept { return t_ns_; }

  [[nodiscard]] bool is_done() const noexcept { return remaining_.load(std::memory_order_acquire) == 0; }  // done

  // Any thread. False when the samplers were not done by deadline_ns (CLOCK_MONOTONIC).
  bool wait_until(std::int64_t deadline_ns) const noexcept;

  // One per channel of the probe, in its order. Only after is_done().
  [[nodiscard]] const std::vector<Slot>& slots() const noexcept { return slots_; }

 private:
  friend class Sampler;
  [[nodiscard]] Slot& slot(std::size_t channel) noexcept { return slots_[channel]; }
  void finish_one() noexcept;

  std::int64_t t_ns_;
  std::vector<Slot> slots_;
  std::atomic<std::uint32_t> remaining_;  // samplers that still have slots to fill; done
};

}  // namespace powerprobe
