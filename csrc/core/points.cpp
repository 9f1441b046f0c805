// SPDX-License-Identifier: MIT
#include "core/points.hpp"

namespace powerprobe {

// As far back as the middle of the gap, but not beyond the edge before; of the first reading, within an update period.
double Points::middle_ns(Index at) const noexcept {
  const Edge& edge = edges_[at];
  std::int64_t gap_ns = edge.gap_ns;
  if (at > 0) {
    gap_ns = std::min(gap_ns, edge.t_ns - edges_[at - 1].t_ns);
  } else if ((edge.flags & kEdgeFirst) != 0) {
    gap_ns = std::min(gap_ns, limits_.period_ns);
  }
  return 0.5 * static_cast<double>(gap_ns);
}

double Points::back_ns(Index at) const noexcept {
  const double middle = middle_ns(at);
  if (at == 0) return middle;
  const Edge& before = edges_[at - 1];
  const Edge& edge = edges_[at];
  if (before.segment != edge.segment) return 0.0;
  const std::int64_t since_ns = edge.t_ns - before.t_ns;
  const std::int64_t gap_ns = edge.gap_ns;
  if (kWidePart * gap_ns <= since_ns || at == last_) return middle;
  const Edge& after = edges_[at + 1];
  const double rise = after.joules - before.joules;
  if (after.segment != edge.segment || rise <= 0.0) return middle;
  // The neighbours' places on an axis that runs back from this edge's t_ns.
  const double left = static_cast<double>(since_ns) + middle_ns(at - 1);
  const double right = middle_ns(at + 1) - static_cast<double>(after.t_ns - edge.t_ns);
  const double back = left - (left - right) * ((edge.joules - before.joules) / rise);
  const double most = static_cast<double>(since_ns) * (1.0 - 1.0 / static_cast<double>(kWidePart));
  return std::min(std::max(back, 0.0), std::min(static_cast<double>(gap_ns), most));
}

// Which part of the step after this edge was used by t: as the guide says, or by time.
double Points::share(Index line, std::int64_t t) const noexcept {
  const Edge& from = edges_[line];
  const Edge& to = edges_[line + 1];
  const double back = back_ns(line);
  const double to_back = back_ns(line + 1);
  const auto since = static_cast<double>(t - from.t_ns);
  const auto step = static_cast<double>(to.t_ns - from.t_ns);
  return guide_.share(from.t_ns, -back, since, step - to_back).value_or((since + back) / (step + back - to_back));
}

Point Points::anywhere(Index at, std::int64_t t) const noexcept {
  const Edge& before = edges_[at];
  const Edge& after = edges_[at + 1];
  const std::int64_t before_gap = before.gap_ns;
  const bool is_whole = before.segment == after.segment;

  const double quantum = limits_.quantum;
  const double watts = limits_.watts;
  const double open = limits_.open;
  Point point{t, 0.0, before.joules, 0.0, before.segment, before.flags};
  if (is_whole && t >= after.t_ns) {  // the last edge of all, which has no gap
    point.lower = after.joules;
  } else if (is_whole) {
    point.lower = std::max(before.joules, after.joules - watts * static_cast<double>(after.t_ns - t) - open);
  }
  point.upper = before.joules + quantum + watts * static_cast<double>(t - before.t_ns + before_gap) + open;
  for (Index i = at + 1;; ++i) {
    point.flags |= edges_[i].flags;
    if (edges_[i].segment != before.segment) break;
    const std::int64_t beyond = t - edges_[i].t_ns + static_cast<std::int64_t>(edges_[i].gap_ns);
    if (beyond <= 0) {
      point.upper = std::min(point.upper, edges_[i].joules + quantum);
      break;
    }
    point.upper = std::min(point.upper, edges_[i].joules + quantum + watts * static_cast<double>(beyond) + open);
  }

  // The line that t is on begins at the edge before t, or at the one after, if that has its place before t.
  const Index line = static_cast<double>(t - after.t_ns) + back_ns(at + 1) > 0.0 ? at + 1 : at;
  const Edge& from = edges_[line];
  const Edge& to = edges_[line + 1];
  point.joules = from.joules;
  if (from.segment == to.segment) point.joules += (to.joules - from.joules) * share(line, t);
  point.joules = std::min(std::max(point.joules, point.lower), point.upper);
  return point;
}

}  // namespace powerprobe
