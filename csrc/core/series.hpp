// SPDX-License-Identifier: MIT
// Energy from edges: the running total at an instant, and the energy of many intervals at once, each with its bounds.
//
// The hardware moved the counter at some moment u within (t_ns - gap_ns, t_ns] of each edge, and the energy up to u lay within
// [joules, joules + quantum). Energy never falls and never grows faster than max_watts: so by any instant t of its segment
//   at least  joules - max_watts * (t_ns - t)                     was used: all by u <= t_ns, and no faster on the way there,
//   at most   joules + quantum + max_watts * (t - (t_ns - gap_ns))          : by u, and no faster since u > t_ns - gap_ns,
// where times below zero count as zero. Every edge bounds every instant; these are the ones that are used:
//   lower  by the last edge with t_ns <= t and, if max_watts is known, by the one after it,
//   upper  by the first edge after that one with t_ns - gap_ns >= t (the bounding edge) and, if max_watts is known, by all before
//          it down to the one with t_ns <= t.
// No interval takes more than max_watts times its length. A reset loses what was used around it, and what was below a quantum.
//
// The estimate is linear between the places of the edges, and kept within the bounds. A place is the middle of the gap, as far
// as that does not reach back beyond the edge before. But
//   - a gap longer than 1/16 of the time since the edge before says little: such an edge stands where the straight line between
//     the middles of its two neighbours reaches its joules, within its gap and not in the first 1/16 of the time since the edge
//     before (no two steps come at once). While the load is constant a late edge so distorts nothing;
//   - the first edge of a segment stands where it was seen, and the estimate rests until then;
//   - the first reading of all has a gap as long as the counter can rest, but a counter that moves has moved within its last update
//     period, where that is known: the first reading stands in the middle of that. Else the first step would seem to have taken long.
// It never falls, and without max_watts it has no jumps. With it it may have, where the counter seems to run faster than that:
// by no more than a quantum and what max_watts allows within one gap.
//
// A counter that steps seldom may have a *guide*: another channel that follows the power between its steps. Between two places p
// and q the estimate is then no straight line but rises as the guide's running total G does, by the share
//   (G(t) - G(p)) / (G(q) - G(p))
// of what was counted. Where the guide's edges do not cover all of [p, q] in one segment, or G does not rise, the line is straight.
// The share goes from 0 to 1 and never falls, so all that was said above still holds; with constant power it is the straight line.
// The bounds know nothing of the guide: the counter stays the truth, and a wrong guide costs no more than a place within them.
//
// Bounds are widened where a sensor does not tell all. Each end of an interval can have `spill_joules` of its surroundings or lack
// them, and of every update period the sensor can miss `blind_joules` either way, because it looks only part of the time. An
// interval of length L touches at most 1 + L / period_ns of these, whose misses are taken to be independent, so that their squares
// add up:
//   w = 2 * spill_joules + blind_joules * sqrt(1 + L / period_ns)
// is taken from the lower bound and added to the upper one, which stay within 0 and max_watts * L. Misses are not independent, and
// w can be too small, only if the load keeps step with the sensor.
//
// Pure functions over a run of edges; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/edge.hpp"
#include "core/source.hpp"

namespace powerprobe {

// What turns a channel's edges into bounds.
struct EnergyModel {
  double quantum_joules = 0.0;  // the counter's step
  double low_watts = 0.0;       // estimates only: the truth lies between these two, whatever the edges say
  double high_watts = 0.0;
  double max_watts = 0.0;       // more is not possible; 0: not known
  double spill_joules = 0.0;    // what an end of an interval can have of its surroundings or lack
  double blind_joules = 0.0;    // what the sensor can miss in each update period
  std::int64_t period_ns = 0;   // such a period; without one the misses of every nanosecond are taken to be its own

  static EnergyModel of(const ChannelInfo& channel) noexcept;
  [[nodiscard]] bool estimated() const noexcept { return high_watts > 0.0; }
};

// The running total at an instant. upper is infinite where the counter was reset before a later edge could bound it, unless
// max_watts does.
struct Point {
  std::int64_t t_ns = 0;
  double joules = 0.0;
  double lower = 0.0;
  double upper = 0.0;
  std::uint32_t segment = 0;
  std::uint32_t flags = 0;  // EdgeFlag: all that the edges from the last one seen by t_ns to the bounding one have
};

// The energy of one interval. If the counter was reset inside it the counted part is the lower bound, and the upper one is
// what max_watts allows: else infinite.
struct Energy {
  double joules = 0.0;
  double lower = 0.0;
  double upper = 0.0;
  std::uint32_t flags = 0;  // of both ends, and kEdgeReset if there was one between them
};

// Up to which instant these edges can answer, and from which on. Both for a run that is not empty.
inline std::int64_t first_answerable_ns(std::span<const Edge> edges) noexcept { return edges.front().t_ns; }
inline std::int64_t last_answerable_ns(std::span<const Edge> edges) noexcept {
  return edges.back().t_ns - static_cast<std::int64_t>(edges.back().gap_ns);
}

// Up to which instant those of them can answer that were seen by settled_ns: because the guide has nothing to say yet of what came
// later. Before the first edge where they cannot answer at all, as a single edge cannot.
std::int64_t known_until_ns(std::span<const Edge> edges, std::int64_t settled_ns) noexcept;

// How far a guide's edges cover the time: to the place of the last one. INT64_MIN: there is none.
inline std::int64_t guided_until_ns(std::span<const Edge> guide) noexcept {
  return guide.empty() ? INT64_MIN : guide.back().t_ns - (static_cast<std::int64_t>(guide.back().gap_ns) + 1) / 2;
}

// Preconditions: at least two edges, first_answerable_ns <= t_ns <= last_answerable_ns. Looks at the last edge with t_ns <= t, at
// two before it, at three after it and at all up to the bounding edge: a run of these alone gives the same.
// `guide`: the edges of the channel's guide; empty: it has none.
Point point_at(std::span<const Edge> edges, const EnergyModel& model, std::int64_t t_ns,
               std::span<const Edge> guide = {}) noexcept;

// The same for an instant beyond last_answerable_ns, of which no later edge has told yet: nothing bounds it from above but
// max_watts, and the estimate goes on with the power of the last edges. At least one edge.
Point point_beyond(std::span<const Edge> edges, const EnergyModel& model, std::int64_t t_ns) noexcept;

Energy energy_between(const Point& start, const Point& end, const EnergyModel& model) noexcept;

// The energy of one interval within what the edges can answer, with the flags that energies_between() would give it. Never allocates.
// `rare`: an edge in the run may have rare flags.
Energy energy_in(std::span<const Edge> edges, const EnergyModel& model, std::int64_t start_ns, std::int64_t end_ns,
                 bool rare) noexcept;

struct IntervalsRange {
  std::int64_t first_ns;     // the earliest start
  std::int64_t last_ns;      // the latest end
  std::ptrdiff_t backwards;  // index of the first interval that ends before it starts; -1: none
  bool sorted;               // starts and ends are both in ascending order
};
IntervalsRange intervals_range(std::span<const std::int64_t> starts, std::span<const std::int64_t> ends) noexcept;

struct Energies {
  std::span<double> joules, lower, upper;
  std::span<std::uint32_t> flags = {};  // empty: not asked for
};

// Intervals [starts[i], ends[i]) in any order; results at the same index. Preconditions: starts[i] <= ends[i], all instants
// answerable, `sorted` as intervals_range says, all spans of one length. The flags of an interval are those of its ends and the
// rare ones (kRareEdgeFlags) of all edges seen within it. These are looked for in the edges unless the caller knows that none
// has any: `rare` is false. Large questions are shared among a few threads, which are gone when it returns.
// Takes memory for an index of 1/16 of the edges, and for the rare ones.
void energies_between(std::span<const Edge> edges, const EnergyModel& model, std::span<const std::int64_t> starts,
                      std::span<const std::int64_t> ends, bool sorted, Energies out, bool rare = true,
                      std::span<const Edge> guide = {});

}  // namespace powerprobe
