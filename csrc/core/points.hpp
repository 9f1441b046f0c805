// SPDX-License-Identifier: MIT
// The rules at the top of series.hpp for one instant in a run of edges. Only for series.cpp and what it is made of.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "core/guide.hpp"
#include "core/series.hpp"

namespace powerprobe {

// Edges below 2^32 in a ring: 128 GiB of them. Indices are 32 bits to keep what is made of them small.
using Index = std::uint32_t;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A gap that takes more than this part of the time since the edge before is a wide one.
constexpr std::int64_t kWidePart = 16;

// Two numbers in the vectors that every processor has.
using Pair = double __attribute__((vector_size(16)));
inline Pair larger(Pair a, Pair b) noexcept { return a < b ? b : a; }
inline Pair smaller(Pair a, Pair b) noexcept { return b < a ? b : a; }

// std::max(value, 0.0) without the branch that compilers make of it. Nobody can predict it: it cost as much as all the rest.
inline double or_zero(double value) noexcept { return larger(Pair{value, value}, Pair{0.0, 0.0})[0]; }

// An EnergyModel as it is calculated with.
struct Limits {
  explicit Limits(const EnergyModel& model) noexcept
      : quantum(model.quantum_joules),
        watts(model.max_watts * 1e-9),
        open(model.max_watts > 0.0 ? 0.0 : kInfinity),
        low_watts(model.low_watts * 1e-9),
        high_watts(model.high_watts * 1e-9),
        spill(model.spill_joules),
        blind(model.blind_joules),
        period_ns(model.period_ns > 0 ? model.period_ns : std::numeric_limits<std::int64_t>::max()),
        periods_per_ns(1.0 / std::max(static_cast<double>(model.period_ns), 1.0)),
        is_estimate(model.estimated()),
        is_plain(!is_estimate && !(spill > 0.0) && !(blind > 0.0)) {}

  // What the points of an interval of so many nanoseconds do not know: an estimate's watts, or what the sensor did not tell.
  void loosen(double& lower, double& upper, double length) const noexcept {
    if (is_estimate) {
      lower = low_watts * length;
      upper = high_watts * length;
    } else {
      const double untold = 2.0 * spill + blind * std::sqrt(1.0 + length * periods_per_ns);
      lower = or_zero(lower - untold);
      upper = std::min(upper + untold, watts * length + open);
    }
  }

  double quantum;
  double watts;  // the most that is possible; all watts are joules per nanosecond here
  double open;   // what to add to (take from) each bound that rests on watts: infinity if they are not known
  double low_watts;
  double high_watts;
  double spill;
  double blind;
  std::int64_t period_ns;  // the largest there is where it is not known
  double periods_per_ns;
  bool is_estimate;
  bool is_plain;  // a counter that tells all: its points bound an interval, and nothing else has to be known
};

inline Energy between(const Point& start, const Point& end, const Limits& limits) noexcept {
  const auto length = static_cast<double>(end.t_ns - start.t_ns);
  const bool is_whole = start.segment == end.segment;
  const double lost = static_cast<double>(end.segment - start.segment) * limits.quantum;
  Energy energy;
  energy.lower = or_zero(end.lower - start.upper - lost);
  energy.upper = limits.watts * length + limits.open;
  if (is_whole) energy.upper = std::min(energy.upper, end.upper - start.lower);
  if (!limits.is_plain) [[unlikely]] limits.loosen(energy.lower, energy.upper, length);
  energy.joules = std::min(std::max(end.joules - start.joules, energy.lower), energy.upper);
  energy.flags = start.flags | end.flags | (is_whole ? 0u : kEdgeReset);
  return energy;
}

class Points {
 public:
  Points(std::span<const Edge> edges, const EnergyModel& model, std::span<const Edge> guide = {}) noexcept
      : edges_(edges.data()),
        last_(static_cast<Index>(edges.size() - 1)),
        limits_(model),
        guide_(guide),
        careful_below_(guide_.empty() ? 1 : std::numeric_limits<Index>::max()) {}

  [[nodiscard]] const Edge* edges() const noexcept { return edges_; }
  [[nodiscard]] Index last() const noexcept { return last_; }
  [[nodiscard]] const Limits& limits() const noexcept { return limits_; }

  // Straight lines, and bounds that the points alone give: what steps.hpp can do.
  [[nodiscard]] bool is_plain() const noexcept { return limits_.is_plain && guide_.empty(); }

  // The last edge with t_ns <= t among [low, high), or low.
  [[nodiscard]] Index search(Index low, Index high, std::int64_t t) const noexcept {
    while (high - low > 1) {
      const Index middle = low + (high - low) / 2;
      if (edges_[middle].t_ns <= t) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }

  // The same from an edge that is not beyond t: the next few are compared all at once, without a branch, because which of them
  // it will be cannot be predicted; those beyond them by doubling.
  [[nodiscard]] Index advance(Index at, std::int64_t t) const noexcept {
    constexpr Index kAtOnce = 3;
    if (at + kAtOnce <= last_) {
      Index passed = 0;
      for (Index i = 1; i <= kAtOnce; ++i) passed += static_cast<Index>(edges_[at + i].t_ns <= t);
      at += passed;
      if (passed < kAtOnce) return at;
    }
    Index step = 1;
    while (at + step <= last_ && edges_[at + step].t_ns <= t) {
      at += step;
      step *= 2;
    }
    return search(at, std::min<Index>(at + step, last_ + 1), t);
  }

  // The point at t, given the last edge with t_ns <= t. Most are between two edges that are seen tightly.
  [[nodiscard]] Point on(Index at, std::int64_t t) const noexcept {
    at = std::min(at, last_ - 1);  // a point needs an edge behind it
    if (at < careful_below_) return anywhere(at, t);
    const Edge& earlier = edges_[at - 1];
    const Edge& before = edges_[at];
    const Edge& after = edges_[at + 1];
    const std::int64_t step = after.t_ns - before.t_ns;
    const std::int64_t since = t - before.t_ns;
    const std::int64_t before_gap = before.gap_ns;
    const std::int64_t after_gap = after.gap_ns;
    const bool is_tight = earlier.segment == before.segment && before.segment == after.segment &&
                          kWidePart * before_gap <= before.t_ns - earlier.t_ns && kWidePart * after_gap <= step &&
                          since + std::max<std::int64_t>(after_gap, 1) <= step;
    if (!is_tight) [[unlikely]] return anywhere(at, t);
    const double quantum = limits_.quantum;
    const double watts = limits_.watts;
    const double open = limits_.open;
    const double share = static_cast<double>(2 * since + before_gap) / static_cast<double>(2 * step + before_gap - after_gap);
    const double joules = before.joules + (after.joules - before.joules) * share;
    const double lower = std::max(before.joules, after.joules - watts * static_cast<double>(step - since) - open);
    const double upper =
        std::min(after.joules, before.joules + watts * static_cast<double>(since + before_gap) + open) + quantum;
    return {t, std::min(std::max(joules, lower), upper), lower, upper, before.segment, before.flags | after.flags};
  }

  // How long before its t_ns an edge has its place.
  [[nodiscard]] double back_ns(Index at) const noexcept;

  // One interval, given the last edges with t_ns <= its ends.
  void answer(std::int64_t start_ns, std::int64_t end_ns, Index start, Index end, const Energies& out,
              std::size_t i) const noexcept {
    put(between(on(start, start_ns), on(end, end_ns), limits_), out, i);
  }

  static void put(const Energy& energy, const Energies& out, std::size_t i) noexcept {
    out.joules[i] = energy.joules;
    out.lower[i] = energy.lower;
    out.upper[i] = energy.upper;
    if (!out.flags.empty()) out.flags[i] = energy.flags;
  }

 private:
  [[nodiscard]] Point anywhere(Index at, std::int64_t t) const noexcept;
  [[nodiscard]] double share(Index line, std::int64_t t) const noexcept;
  [[nodiscard]] double middle_ns(Index at) const noexcept;

  const Edge* edges_;
  Index last_;
  Limits limits_;
  Guide guide_;
  Index careful_below_;  // points after edges below this one take the careful way: without a guide only the first
};

}  // namespace powerprobe
