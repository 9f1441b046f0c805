// SPDX-License-Identifier: MIT
// The record: one moment at which a counter was seen to have moved. Written by a channel's sampler, read by everybody.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace powerprobe {

// Bits of Edge::flags.
enum EdgeFlag : std::uint32_t {
  kEdgeFirst = 1u << 0,       // the first reading: where the total starts, not a step
  kEdgeQuiet = 1u << 1,       // the counter was seen to rest: same total, known to be no older than gap_ns
  kEdgeWrapped = 1u << 2,     // the counter passed its modulus since the edge before
  kEdgeReset = 1u << 3,       // the counter jumped; what it counted since the edge before is lost, a new segment starts
  kEdgeAmbiguous = 1u << 4,   // so long after the reading before that it may have wrapped more often than seen
  kEdgeAfterRetry = 1u << 5,  // readings before this one failed
  kEdgeLate = 1u << 6,        // seen later than it could have been: a tick was missed, or the step was not seen as it came
  kEdgeStamped = 1u << 7,     // t_ns and gap_ns come from the hardware's own stamp
  kEdgeDropped = 1u << 8,     // edges before this one found no room; their energy is in it
  kEdgeFiltered = 1u << 9,    // the energy filter blurs this counter
  kEdgeEstimated = 1u << 10,  // from a model, not from a counter
};

// What an interval has to tell even if it happened far from both of its ends.
inline constexpr std::uint32_t kRareEdgeFlags = kEdgeWrapped | kEdgeReset | kEdgeAmbiguous | kEdgeDropped;

// The step happened within (t_ns - gap_ns, t_ns], and at that moment the energy since the probe opened lay within
// [joules, joules + quantum). numpy sees the same layout (checked by a test).
struct Edge {
  std::int64_t t_ns = 0;      // CLOCK_MONOTONIC; without a hardware stamp the first moment at which the new value was seen
  double joules = 0.0;        // running total since the probe opened, from an integer total of counts
  std::uint32_t gap_ns = 0;   // how long before t_ns the step may have happened
  std::uint32_t read_ns = 0;  // how long the reading took
  std::uint32_t flags = 0;    // EdgeFlag
  std::uint32_t segment = 0;  // counts the resets so far; energies are differences only within one segment
};

static_assert(sizeof(Edge) == 32 && alignof(Edge) == 8);
static_assert(std::is_trivially_copyable_v<Edge> && std::is_standard_layout_v<Edge>);
static_assert(offsetof(Edge, joules) == 8 && offsetof(Edge, gap_ns) == 16 && offsetof(Edge, read_ns) == 20 &&
              offsetof(Edge, flags) == 24 && offsetof(Edge, segment) == 28);

inline constexpr std::size_t kEdgeWords = sizeof(Edge) / sizeof(std::uint64_t);
static_assert(std::endian::native == std::endian::little);  // of two halves the earlier one is the lower

// Into a slot of a ring that another process may be reading (ring_reader.hpp): a word at a time, each after what was stored before.
// The words are put together from the fields: to load them from where the fields were just stored would double what publishing costs.
inline void put(Edge& slot, const Edge& edge) noexcept {
  const std::array<std::uint64_t, kEdgeWords> words{
      std::bit_cast<std::uint64_t>(edge.t_ns), std::bit_cast<std::uint64_t>(edge.joules),
      edge.gap_ns | std::uint64_t{edge.read_ns} << 32, edge.flags | std::uint64_t{edge.segment} << 32};
  auto* const place = reinterpret_cast<std::uint64_t*>(&slot);
  for (std::size_t i = 0; i < kEdgeWords; ++i) {
    std::atomic_ref<std::uint64_t>(place[i]).store(words[i], std::memory_order_release);  // torn: ring_reader.hpp
  }
}

// And out of it. What comes may be torn: only who looks afterwards whether the slot was claimed meanwhile knows that it is not.
inline Edge get(const Edge& slot) noexcept {
  std::array<std::uint64_t, kEdgeWords> words{};
  // atomic_ref wants what it could write to; a load of eight bytes does not.
  auto* const place = reinterpret_cast<std::uint64_t*>(const_cast<Edge*>(&slot));
  for (std::size_t i = 0; i < kEdgeWords; ++i) {
    words[i] = std::atomic_ref<std::uint64_t>(place[i]).load(std::memory_order_acquire);  // torn
  }
  return std::bit_cast<Edge>(words);
}

}  // namespace powerprobe
