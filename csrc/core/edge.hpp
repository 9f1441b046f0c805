// SPDX-License-Identifier: MIT
// The record: one moment at which a counter was seen to have moved. Written by a channel's sampler, read by everybody.
#pragma once

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

}  // namespace powerprobe
