// SPDX-License-Identifier: MIT
// One channel of a sampler: makes edges of readings, stores them in the channel's ring, and answers for marked instants.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/count.hpp"
#include "core/mark.hpp"
#include "core/pacing.hpp"
#include "core/ring.hpp"
#include "core/series.hpp"
#include "core/source.hpp"
#include "core/stamp.hpp"
#include "core/unwrap.hpp"

namespace powerprobe {

// An edge's gap has 32 bits of nanoseconds, 4.29 s: a channel's stale_ns and the longest reading have to fit into it together.
// What takes longer is as good as a reading that failed.
constexpr std::int64_t kLongestNs = 2'000'000'000;

// For so long after an edge its guide is waited for at most: about half as long as askers wait for an answer.
constexpr std::int64_t kGuidePatienceNs = 500'000'000;

// What a channel's sampler has seen. Counted since the probe opened.
struct ChannelStats {
  std::uint64_t edges = 0;    // published
  std::uint64_t dropped = 0;  // read but not stored, because the slot was leased
  std::uint64_t wraps = 0;
  std::uint64_t resets = 0;
  std::uint64_t retries = 0;  // readings that failed
  ReadStatus health = ReadStatus::kOk;
  int error = 0;                    // errno of the last reading that failed
  std::int64_t ended_ns = INT64_MAX;  // when the channel ended; INT64_MAX: it has not
};

// Used by the sampler's thread alone (before it starts: by whoever makes the sampler), except where marked "any thread".
class Recorder {
 public:
  Recorder(const ChannelInfo& channel, std::size_t capacity);

  // Before the first reading: this channel's guide, of the same sampler. Waited for after each edge for as long as it can take a
  // sensor to tell of that time (its window and three update periods), but no longer than kGuidePatienceNs.
  void follow(const Recorder& guide) noexcept;

  // A reading that was taken between before_ns and after_ns (CLOCK_MONOTONIC). `late`: the sampler missed a tick before it. An
  // edge with a gap of more than tight_ns is late in any case.
  Sight take(const Reading& reading, std::int64_t before_ns, std::int64_t after_ns, bool late, std::int64_t tight_ns) noexcept;

  // A thread goes on reading, or none does any more: told to those who read the ring in other processes.
  void say_written(bool is_written) noexcept { said().is_written.store(is_written, std::memory_order_release); }  // over

  // Fills the slot if the edges at hand can (and the guide covers them or was waited for long enough), or if nothing will ever
  // (`give_up`: nothing is waited for any more). False: not yet.
  bool fill(Mark::Slot& slot, std::int64_t t_ns, bool give_up) const noexcept;

  [[nodiscard]] const std::shared_ptr<Ring>& ring() const noexcept { return ring_; }  // any thread
  [[nodiscard]] ChannelStats stats() const noexcept;                                  // any thread
  [[nodiscard]] const Recorder* guide() const noexcept { return guide_; }             // any thread; nullptr: none

  // Edges that were seen by then can answer: the guide (these are its edges) covers them, or is not waited for. Any thread.
  [[nodiscard]] std::int64_t settled_ns(std::span<const Edge> guide) const noexcept;

  // Whether an edge with this index or a later one has rare flags. Any thread; for edges that it has seen published.
  [[nodiscard]] bool has_rare_since(std::uint64_t index) const noexcept { return rare_until_.get() > index; }

 private:
  void say_healthy() noexcept {
    if (said().health.load(std::memory_order_relaxed) != 0) said().health.store(0, std::memory_order_relaxed);
  }
  Sight relay(Edge edge) noexcept;
  void store(Edge& edge) noexcept;
  void know(Mark::Slot& slot, const Point& point) const noexcept;
  Sight end(const Reading& reading, std::int64_t at_ns) noexcept;

  [[nodiscard]] RingHeader& said() const noexcept { return ring_->header(); }

  const ChannelInfo& info_;
  EnergyModel model_;
  const Recorder* guide_ = nullptr;  // set before there are other threads
  std::int64_t patience_ns_ = 0;     // the same
  std::shared_ptr<Ring> ring_;
  Unwrapper unwrapper_;
  std::optional<StampMap> stamps_;
  std::int64_t old_value_seen_ns_ = 0;  // begin of the last reading that was good and brought something
  std::int64_t last_edge_ns_ = 0;
  std::optional<Edge> unstored_;  // the newest edge, while it was dropped
  std::uint32_t segment_ = 0;
  std::uint32_t own_flags_;       // of every edge
  std::uint32_t next_flags_ = 0;  // what the next edge has to say of the readings since the last
  bool has_ended_ = false;
  Count edges_, wraps_, resets_, retries_;
  Count rare_until_;  // one beyond the index of the last edge with rare flags; set before that is published
};

}  // namespace powerprobe
