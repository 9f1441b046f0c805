// SPDX-License-Identifier: MIT
// What many intervals among few edges have in common, computed once. Only for series.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>

#include "core/points.hpp"

namespace powerprobe {

// The steps of a stretch of edges of one segment, each from an edge to the next. All times are nanoseconds since the first.
class Steps {
 public:
  // Makes ready what instants from the edge `first` to last_ns need. False if that is too much, or not of one segment.
  bool prepare(const Points& points, Index first, std::int64_t last_ns) noexcept {
    const Edge* const edges = points.edges();
    const Index most = std::min<Index>(points.last() + 1 - first, kMost);
    points_ = &points;
    first_ = first;
    origin_ns_ = edges[first].t_ns;
    flags_seen_ = 0;
    // Without an edge before it the first one takes the careful way.
    double before = first > 0 ? static_cast<double>(edges[first - 1].t_ns - origin_ns_) : 0.0;
    std::uint32_t segments = 0;
    Index count = 0;
    for (Index beyond = 0; beyond < kBeyond; ++count) {
      if (count == most) {
        if (beyond == 0) return false;
        break;
      }
      const Edge& edge = edges[first + count];
      __builtin_prefetch(edges + std::min(first + count + kAhead, points.last()));
      beyond += static_cast<Index>(edge.t_ns > last_ns);
      const std::int64_t since_ns = edge.t_ns - origin_ns_;
      const auto time = static_cast<double>(since_ns);
      const auto gap = static_cast<double>(static_cast<std::int64_t>(edge.gap_ns));
      since_ns_[count] = static_cast<std::uint64_t>(since_ns);
      time_[count] = time;
      earliest_[count] = time - gap;
      place_[count] = time - 0.5 * gap;
      joules_[count] = edge.joules;
      flags_[count] = edge.flags;
      flags_seen_ |= edge.flags;
      segments |= edge.segment ^ edges[first].segment;
      const bool is_wide = static_cast<double>(kWidePart) * gap > time - before;
      if (is_wide) [[unlikely]] place_[count] = time - points.back_ns(first + count);
      before = time;
    }
    if (segments != 0 || (first > 0 && edges[first - 1].segment != edges[first].segment)) return false;
    for (Index i = 0; i < kAtOnce; ++i) since_ns_[count + i] = std::numeric_limits<std::uint64_t>::max();
    // Where a line is steeper than any load (quanta, gaps) the estimate may leave its bounds, else not.
    const double steepest = points.limits().watts + points.limits().open;
    for (Index i = 0; i + 1 < count; ++i) {
      slope_[i] = (joules_[i + 1] - joules_[i]) / (place_[i + 1] - place_[i]);
      until_[i] = slope_[i] > steepest ? -kInfinity : earliest_[i + 1];
    }
    count_ = count;
    return true;
  }

  [[nodiscard]] std::uint32_t flags_seen() const noexcept { return flags_seen_; }

  // Sorted intervals within what is prepared; results from out[at] on. Walks in both halves at once, because where the next one
  // of each is can only be told after the last.
  void answer(const std::int64_t* starts, const std::int64_t* ends, std::size_t size, const Energies& out,
              std::size_t at) const noexcept {
    const Limits limits = points_->limits();
    const bool has_flags = !out.flags.empty() && flags_seen_ != 0;
    if (!out.flags.empty() && !has_flags) std::fill_n(out.flags.data() + at, size, 0u);
    const std::size_t half = (size + 1) / 2;
    Two start{find(starts[0]), find(starts[half % size])};
    Two end{find(ends[0]), find(ends[half % size])};
    for (std::size_t i = 0; i < half; ++i) {
      const std::size_t j = std::min(i + half, size - 1);
      const std::int64_t start_i = starts[i] - origin_ns_;
      const std::int64_t start_j = starts[j] - origin_ns_;
      const std::int64_t end_i = ends[i] - origin_ns_;
      const std::int64_t end_j = ends[j] - origin_ns_;
      start = {advance(start.i, start_i), advance(start.j, start_j)};
      end = {advance(end.i, end_i), advance(end.j, end_j)};
      const Pair s = {static_cast<double>(start_i), static_cast<double>(start_j)};
      const Pair e = {static_cast<double>(end_i), static_cast<double>(end_j)};
      const Pair room = smaller(both(until_, start) - s, both(until_, end) - e);
      if (std::min(room[0], room[1]) < 0.0) [[unlikely]] {
        answer_hard(starts[i], ends[i], start.i, end.i, out, at + i);
        answer_hard(starts[j], ends[j], start.j, end.j, out, at + j);
        continue;
      }
      const Values from = values(s, start, limits);
      const Values to = values(e, end, limits);
      const Pair upper = smaller(to.upper - from.lower, limits.watts * (e - s) + limits.open);
      const Pair lower = larger(to.lower - from.upper, Pair{0.0, 0.0});
      const Pair joules = smaller(larger(to.joules - from.joules, lower), upper);
      store(out.joules, at + i, at + j, joules);
      store(out.lower, at + i, at + j, lower);
      store(out.upper, at + i, at + j, upper);
      if (!has_flags) continue;
      out.flags[at + i] = flags_[start.i] | flags_[start.i + 1] | flags_[end.i] | flags_[end.i + 1];
      out.flags[at + j] = flags_[start.j] | flags_[start.j + 1] | flags_[end.j] | flags_[end.j + 1];
    }
  }

 private:
  static constexpr Index kMost = 320;
  static constexpr Index kAtOnce = 4;
  static constexpr Index kBeyond = 3;  // edges after the last instant: the next, and a few that may bound in its stead
  // How far ahead memory is asked for. The processor's own prefetch stops at the end of each page (128 edges).
  static constexpr Index kAhead = 256;

  struct Values {
    Pair joules, lower, upper;
  };

  struct Two {
    std::size_t i, j;
  };

  static Pair both(const double* array, Two at) noexcept { return Pair{array[at.i], array[at.j]}; }
  static Pair both(const std::array<double, kMost>& array, Two at) noexcept { return both(array.data(), at); }
  static Pair both_next(const std::array<double, kMost>& array, Two at) noexcept { return both(array.data() + 1, at); }
  static void store(std::span<double> out, std::size_t i, std::size_t j, Pair values) noexcept {
    out[i] = values[0];
    out[j] = values[1];
  }

  // Not inlined: it would take the registers of everything around it.
  [[gnu::noinline]] void answer_hard(std::int64_t start_ns, std::int64_t end_ns, std::size_t start, std::size_t end,
                                     const Energies& out, std::size_t at) const noexcept {
    Point from{.t_ns = start_ns};
    Point to{.t_ns = end_ns};
    if (complete(from, start) && complete(to, end)) {
      Points::put(between(from, to, points_->limits()), out, at);
    } else {
      points_->answer(start_ns, end_ns, first_ + static_cast<Index>(start), first_ + static_cast<Index>(end), out, at);
    }
  }

  // As Points::anywhere, within what is prepared. False if that is too little.
  bool complete(Point& point, std::size_t at) const noexcept {
    const Limits& limits = points_->limits();
    const auto t = static_cast<double>(point.t_ns - origin_ns_);
    point.lower = std::max(joules_[at], joules_[at + 1] - limits.watts * (time_[at + 1] - t) - limits.open);
    point.upper = joules_[at] + limits.watts * (t - earliest_[at]) + limits.open;
    point.flags = flags_[at];
    std::size_t bound = at + 1;
    for (; bound < count_ && earliest_[bound] < t; ++bound) {
      point.upper = std::min(point.upper, joules_[bound] + limits.watts * (t - earliest_[bound]) + limits.open);
      point.flags |= flags_[bound];
    }
    if (bound == count_) return false;
    point.upper = std::min(point.upper, joules_[bound]) + limits.quantum;
    point.flags |= flags_[bound];
    const std::size_t line = t > place_[at + 1] ? at + 1 : at;  // there is a step: the bounding edge is behind it
    point.joules = joules_[line] + slope_[line] * (t - place_[line]);
    point.joules = std::min(std::max(point.joules, point.lower), point.upper);
    return true;
  }

  // As Points::on, where there is nothing special to take care of.
  [[nodiscard]] Values values(Pair t, Two at, const Limits& limits) const noexcept {
    const Pair before = both(joules_, at);
    const Pair after = both_next(joules_, at);
    return {before + both(slope_, at) * (t - both(place_, at)),
            larger(before, after - limits.watts * (both_next(time_, at) - t) - limits.open),
            smaller(after, before + limits.watts * (t - both(earliest_, at)) + limits.open) + limits.quantum};
  }

  [[nodiscard]] std::size_t find(std::int64_t t_ns) const noexcept {
    const auto since_ns = static_cast<std::uint64_t>(t_ns - origin_ns_);
    const auto after = std::upper_bound(since_ns_.begin(), since_ns_.begin() + count_, since_ns);
    return static_cast<std::size_t>(after - since_ns_.begin()) - 1;
  }

  // The next few edges are compared all at once, without a branch: which of them it will be cannot be predicted.
  [[nodiscard]] std::size_t advance(std::size_t at, std::int64_t after_ns) const noexcept {
    const auto since_ns = static_cast<std::uint64_t>(after_ns);
    while (true) {
      std::size_t passed = 0;
      for (std::size_t i = 1; i <= kAtOnce; ++i) passed += static_cast<std::size_t>(since_ns_[at + i] <= since_ns);
      at += passed;
      if (passed < kAtOnce) [[likely]] return at;
    }
  }

  const Points* points_ = nullptr;
  Index first_ = 0;
  Index count_ = 0;
  std::int64_t origin_ns_ = 0;
  std::uint32_t flags_seen_ = 0;
  std::array<std::uint64_t, kMost + kAtOnce> since_ns_;
  std::array<double, kMost> time_;
  std::array<double, kMost> earliest_;
  std::array<double, kMost> place_;
  std::array<double, kMost> joules_;
  std::array<double, kMost> slope_;  // of the step from this edge to the next
  std::array<double, kMost> until_;  // instants of that step beyond this take more care
  std::array<std::uint32_t, kMost> flags_;
};

}  // namespace powerprobe
