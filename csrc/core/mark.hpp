// SPDX-License-Identifier: MIT
// A marked instant: the running totals of all channels at it, filled in by the samplers as soon as the edges after it are in.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
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
// Written by the samplers (each its own slots), read by whoever waited for those slots:
//   done   sampler: is_done of a slot, store(release)  ->  asker: its load(acquire)     who sees a slot done sees its point
//   wake   sampler: is_done, then changes_ up (release)  ->  asker: changes_.load(acquire), then is_done
//          who sleeps on what it saw of changes_ does not sleep through a slot that was done after it looked
class Mark {
 public:
  struct Slot {
    Point point;
    MarkState state = MarkState::kPending;
    // Of the channel by then: what happens between two marks may be long gone from the ring.
    std::uint64_t wraps = 0;
    std::uint64_t dropped = 0;
  };

  Mark(std::int64_t t_ns, std::size_t channels)
      : t_ns_(t_ns), slots_(channels), is_done_(std::make_unique<std::atomic<bool>[]>(channels)) {}

  [[nodiscard]] std::int64_t t_ns() const noexcept { return t_ns_; }
  [[nodiscard]] std::size_t channels() const noexcept { return slots_.size(); }

  [[nodiscard]] bool is_done(std::size_t channel) const noexcept {
    return is_done_[channel].load(std::memory_order_acquire);  // done
  }
  [[nodiscard]] bool is_done() const noexcept;  // all of them

  // Any thread. False when one of these channels (of all of them) was not done by deadline_ns (CLOCK_MONOTONIC). Channels differ in
  // how soon their next edge comes: who needs some need not wait for the rest.
  bool wait_until(std::int64_t deadline_ns, std::span<const std::size_t> channels) const noexcept;
  bool wait_until(std::int64_t deadline_ns) const noexcept;

  // One per channel of the probe, in its order. Each only after it is done.
  [[nodiscard]] const std::vector<Slot>& slots() const noexcept { return slots_; }

 private:
  friend class Sampler;
  [[nodiscard]] Slot& slot(std::size_t channel) noexcept { return slots_[channel]; }
  void finish(std::size_t channel) noexcept;
  void wake() noexcept;
  template <typename Condition>
  bool wait_for(std::int64_t deadline_ns, Condition condition) const noexcept;

  std::int64_t t_ns_;
  std::vector<Slot> slots_;
  std::unique_ptr<std::atomic<bool>[]> is_done_;  // by channel; done
  std::atomic<std::uint32_t> changes_{0};         // wake; the word that askers sleep on
};

}  // namespace powerprobe
