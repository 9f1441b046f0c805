// SPDX-License-Identifier: MIT
// Energy from edges: the running total at an instant, and the energy of many intervals at once, each with its bounds.
//
// The hardware moved the counter at some moment u within (t - gap, t] of each edge, and the energy up to u lay within
// [joules, joules + quantum). Energy never falls, so for any load
//   - all that an edge seen by t has counted was used by t:            lower(t) = joules of the last edge with t_ns <= t
//   - all that was used by t is counted by a step that came after t:   upper(t) = joules + quantum of the first edge with
//                                                                      t_ns - gap_ns >= t
// Between two edges the estimate is linear. Pure functions over a run of edges; any thread.
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

  static EnergyModel of(const ChannelInfo& channel) noexcept;
  [[nodiscard]] bool estimated() const noexcept { return high_watts > 0.0; }
};

// The running total at an instant. upper is infinite where the counter was reset before a later edge could bound it.
struct Point {
  std::int64_t t_ns = 0;
  double joules = 0.0;
  double lower = 0.0;
  double upper = 0.0;
  std::uint32_t segment = 0;
};

// The energy of one interval; upper is infinite when the counter was reset inside it (the counted part is the lower bound).
struct Energy {
  double joules = 0.0;
  double lower = 0.0;
  double upper = 0.0;
};

// Up to which instant these edges can answer, and from which on. Both for a run that is not empty.
inline std::int64_t first_answerable_ns(std::span<const Edge> edges) noexcept { return edges.front().t_ns; }
inline std::int64_t last_answerable_ns(std::span<const Edge> edges) noexcept {
  return edges.back().t_ns - static_cast<std::int64_t>(edges.back().gap_ns);
}

// Precondition: first_answerable_ns <= t_ns <= last_answerable_ns.
Point point_at(std::span<const Edge> edges, const EnergyModel& model, std::int64_t t_ns) noexcept;

Energy energy_between(const Point& start, const Point& end, const EnergyModel& model) noexcept;

// Intervals [starts[i], ends[i]) in any order; results at the same index. Preconditions: starts[i] <= ends[i], all instants
// answerable (see intervals_range), all spans of one length. Does not allocate more than an index of 1/16 of the edges.
struct IntervalsRange {
  std::int64_t first_ns;     // the earliest start
  std::int64_t last_ns;      // the latest end
  std::ptrdiff_t backwards;  // index of the first interval that ends before it starts; -1: none
  bool sorted;               // starts and ends are both in ascending order
};
IntervalsRange intervals_range(std::span<const std::int64_t> starts, std::span<const std::int64_t> ends) noexcept;

struct Energies {
  std::span<double> joules, lower, upper;
};
void energies_between(std::span<const Edge> edges, const EnergyModel& model, std::span<const std::int64_t> starts,
                      std::span<const std::int64_t> ends, bool sorted, Energies out);

}  // namespace powerprobe
