// SPDX-License-Identifier: MIT
// How the power went between two edges of a counter, as another channel saw it. Pure arithmetic on a pinned run of edges; only for
// points.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/edge.hpp"

namespace powerprobe {

// The running total G of another channel: linear between its edges, each of which stands in the middle of its gap, as far as that
// does not reach back beyond the edge before.
class Guide {
 public:
  explicit Guide(std::span<const Edge> edges) noexcept : edges_(edges.size() < 2 ? std::span<const Edge>() : edges) {}

  [[nodiscard]] bool empty() const noexcept { return edges_.empty(); }

  // (G(at) - G(from)) / (G(to) - G(from)), in nanoseconds since origin_ns, from <= at <= to. Nothing where the edges do not cover
  // all of it in one segment, or G does not rise.
  [[nodiscard]] std::optional<double> share(std::int64_t origin_ns, double from, double at, double to) const noexcept {
    if (empty() || place(0, origin_ns) > from || place(edges_.size() - 1, origin_ns) < to) return std::nullopt;
    const Total begin = total(origin_ns, from);
    const Total end = total(origin_ns, to);
    if (begin.segment_before != end.segment_after || !(end.joules > begin.joules)) return std::nullopt;
    return (total(origin_ns, at).joules - begin.joules) / (end.joules - begin.joules);
  }

 private:
  struct Total {
    double joules;
    std::uint32_t segment_before, segment_after;  // of the edges around it
  };

  // Strictly ascending: only the first can stand further back than halfway to the edge before.
  [[nodiscard]] double place(std::size_t i, std::int64_t origin_ns) const noexcept {
    std::int64_t gap_ns = edges_[i].gap_ns;
    if (i > 0) gap_ns = std::min(gap_ns, edges_[i].t_ns - edges_[i - 1].t_ns);
    return static_cast<double>(edges_[i].t_ns - origin_ns) - 0.5 * static_cast<double>(gap_ns);
  }

  // Somewhere between the places of the first edge and the last.
  [[nodiscard]] Total total(std::int64_t origin_ns, double at) const noexcept {
    std::size_t low = 0;  // the last edge with its place <= at is among [low, high)
    std::size_t high = edges_.size();
    while (high - low > 1) {
      const std::size_t middle = low + (high - low) / 2;
      (place(middle, origin_ns) <= at ? low : high) = middle;
    }
    const Edge& before = edges_[low];
    const double since = at - place(low, origin_ns);
    if (since <= 0.0) return {before.joules, before.segment, before.segment};
    const Edge& after = edges_[low + 1];
    const double step = place(low + 1, origin_ns) - place(low, origin_ns);
    return {before.joules + (after.joules - before.joules) * (since / step), before.segment, after.segment};
  }

  std::span<const Edge> edges_;
};

}  // namespace powerprobe
