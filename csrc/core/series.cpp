// SPDX-License-Identifier: MIT
#include "core/series.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <utility>
#include <vector>

#include "core/points.hpp"
#include "core/share_out.hpp"
#include "core/steps.hpp"
#include "core/time_index.hpp"

namespace powerprobe {
namespace {

// A part of a question that is worth a thread of its own: it takes about half a millisecond.
constexpr std::size_t kLeastPart = std::size_t{1} << 16;

struct Question {
  std::span<const std::int64_t> starts, ends;
};

void answer_few(const Points& points, const Question& question, const Energies& out) noexcept {
  for (std::size_t i = 0; i < question.starts.size(); ++i) {
    const Index start = points.search(0, points.last() + 1, question.starts[i]);
    points.answer(question.starts[i], question.ends[i], start, points.search(start, points.last() + 1, question.ends[i]), out, i);
  }
}

constexpr std::uint32_t kAnyFlags = ~0u;

// Walks along with the edges. Returns the flags of all edges within the intervals, or all bits if it did not look at each.
std::uint32_t answer_sorted(const Points& points, const Question& question, const Energies& out, std::size_t begin,
                            std::size_t end) noexcept {
  constexpr std::size_t kBatch = 128;
  const std::int64_t* const starts = question.starts.data();
  const std::int64_t* const ends = question.ends.data();
  Steps steps;
  std::uint32_t flags_seen = 0;
  Index start = 0;
  for (std::size_t from = begin; from < end; from += kBatch) {
    const std::size_t size = std::min(kBatch, end - from);
    start = points.advance(start, starts[from]);
    if (points.is_plain() && steps.prepare(points, start, ends[from + size - 1])) {
      steps.answer(starts + from, ends + from, size, out, from);
      flags_seen |= steps.flags_seen();
      continue;
    }
    flags_seen = kAnyFlags;
    Index start_at = start;
    Index end_at = points.advance(start, ends[from]);
    for (std::size_t i = from; i < from + size; ++i) {
      start_at = points.advance(start_at, starts[i]);
      end_at = points.advance(end_at, ends[i]);
      points.answer(starts[i], ends[i], start_at, end_at, out, i);
    }
  }
  return flags_seen;
}

void answer_indexed(const Points& points, const TimeIndex& index, const Question& question, const Energies& out,
                    std::size_t begin, std::size_t end) noexcept {
  constexpr std::size_t kBatch = 256;
  // Ends of short intervals are a few edges on from their starts, which are in the cache by then.
  const std::int64_t span_ns = points.edges()[points.last()].t_ns - points.edges()[0].t_ns;
  const std::int64_t short_ns = 8 * span_ns / (static_cast<std::int64_t>(points.last()) + 1);
  std::array<Index, kBatch> start_at;
  std::array<Index, kBatch> end_at;
  for (std::size_t from = begin; from < end; from += kBatch) {
    const std::size_t size = std::min(kBatch, end - from);
    const std::int64_t* const starts = question.starts.data() + from;
    const std::int64_t* const ends = question.ends.data() + from;
    index.find(starts, start_at.data(), size);
    bool all_short = true;
    for (std::size_t i = 0; i < size; ++i) all_short &= ends[i] - starts[i] < short_ns;
    if (all_short) {
      for (std::size_t i = 0; i < size; ++i) end_at[i] = points.advance(start_at[i], ends[i]);
    } else {
      index.find(ends, end_at.data(), size);
    }
    for (std::size_t i = 0; i < size; ++i) points.answer(starts[i], ends[i], start_at[i], end_at[i], out, from + i);
  }
}

// Adds the rare flags of all edges seen within (start, end] of each interval.
void add_rare_flags(const Points& points, const Question& question, std::span<std::uint32_t> flags) {
  const auto [first_ns, last_ns, backwards, sorted] = intervals_range(question.starts, question.ends);
  std::vector<Edge> rare;
  for (Index i = points.search(0, points.last() + 1, first_ns); i <= points.last() && points.edges()[i].t_ns <= last_ns; ++i) {
    if ((points.edges()[i].flags & kRareEdgeFlags) != 0) rare.push_back(points.edges()[i]);
  }
  for (const std::uint32_t flag : {kEdgeWrapped, kEdgeReset, kEdgeAmbiguous, kEdgeDropped}) {
    std::vector<std::int64_t> times;
    for (const Edge& edge : rare) {
      if ((edge.flags & flag) != 0) times.push_back(edge.t_ns);
    }
    if (times.empty()) continue;
    for (std::size_t i = 0; i < flags.size(); ++i) {
      const auto next = std::upper_bound(times.begin(), times.end(), question.starts[i]);
      if (next != times.end() && *next <= question.ends[i]) flags[i] |= flag;
    }
  }
}

// Whether starts and ends both ascend and no interval is backwards; may say no where a time is negative. The signs of differences
// tell: where one overflows, another has its sign or that of an end is set. In blocks: what is out of order mostly is so at once.
bool is_in_order(std::span<const std::int64_t> starts, std::span<const std::int64_t> ends) noexcept {
  constexpr std::size_t kBlock = 4096;
  const auto value = [](std::int64_t t_ns) { return static_cast<std::uint64_t>(t_ns); };
  if (starts.empty() || ends[0] < starts[0]) return false;
  for (std::size_t from = 1; from < starts.size(); from += kBlock) {
    const std::size_t end = std::min(from + kBlock, starts.size());
    std::uint64_t signs = 0;
    for (std::size_t i = from; i < end; ++i) {
      signs |= value(ends[i]) | (value(starts[i]) - value(starts[i - 1])) |
               (value(ends[i]) - value(ends[i - 1])) | (value(ends[i]) - value(starts[i]));
    }
    if (signs >> 63 != 0) return false;
  }
  return true;
}

}  // namespace

EnergyModel EnergyModel::of(const ChannelInfo& channel) noexcept {
  // A counter that is shown in other units than its own (powercap: whole microjoules of a 61 microjoule step) is cut off twice.
  const double quantum =
      channel.quantum_joules > 0.0 ? channel.quantum_joules + channel.joules_per_count : channel.joules_per_count;
  return {quantum,
          channel.low_watts,
          channel.high_watts,
          channel.max_watts,
          channel.spill_joules,
          channel.blind_joules,
          channel.update_period_ns};
}

std::int64_t known_until_ns(std::span<const Edge> edges, std::int64_t settled_ns) noexcept {
  if (edges.empty()) return std::numeric_limits<std::int64_t>::min();
  const auto beyond = std::upper_bound(edges.begin(), edges.end(), settled_ns,
                                       [](std::int64_t t, const Edge& edge) { return t < edge.t_ns; });
  const auto settled = static_cast<std::size_t>(beyond - edges.begin());
  return settled < 2 ? first_answerable_ns(edges) - 1 : last_answerable_ns(edges.first(settled));
}

Point point_at(std::span<const Edge> edges, const EnergyModel& model, std::int64_t t_ns, std::span<const Edge> guide) noexcept {
  const Points points(edges, model, guide);
  return points.on(points.search(0, points.last() + 1, t_ns), t_ns);
}

Point point_beyond(std::span<const Edge> edges, const EnergyModel& model, std::int64_t t_ns) noexcept {
  constexpr std::size_t kLately = 8;  // edges whose power is taken to go on
  const Edge& last = edges.back();
  std::size_t at = edges.size() - 1;
  while (at > 0 && edges[at].t_ns > t_ns) --at;
  std::size_t since = edges.size() - 1;
  while (since > 0 && edges.size() - since <= kLately && edges[since - 1].segment == last.segment) --since;
  const auto beyond_ns = static_cast<double>(t_ns - last.t_ns + static_cast<std::int64_t>(last.gap_ns));
  const auto lately_ns = static_cast<double>(last.t_ns - edges[since].t_ns);
  Point point{t_ns, last.joules, edges[at].joules, std::numeric_limits<double>::infinity(), last.segment, last.flags};
  if (edges[at].segment != last.segment) point.lower = last.joules;  // what was counted before says nothing of this segment
  if (model.max_watts > 0.0) {
    point.upper = last.joules + model.quantum_joules + model.max_watts * beyond_ns * 1e-9;
  }
  if (lately_ns > 0.0) {
    const double since_place_ns = beyond_ns - 0.5 * static_cast<double>(last.gap_ns);
    point.joules += (last.joules - edges[since].joules) / lately_ns * since_place_ns;
  }
  point.joules = std::min(std::max(point.joules, point.lower), point.upper);
  return point;
}

Energy energy_between(const Point& start, const Point& end, const EnergyModel& model) noexcept {
  return between(start, end, Limits(model));
}

Energy energy_in(std::span<const Edge> edges, const EnergyModel& model, std::int64_t start_ns, std::int64_t end_ns,
                 bool rare) noexcept {
  const Points points(edges, model);
  const Index start = points.search(0, points.last() + 1, start_ns);
  const Index end = points.search(start, points.last() + 1, end_ns);
  Energy energy = between(points.on(start, start_ns), points.on(end, end_ns), points.limits());
  for (Index i = start + 1; rare && i <= end; ++i) energy.flags |= edges[i].flags & kRareEdgeFlags;
  return energy;
}

IntervalsRange intervals_range(std::span<const std::int64_t> starts, std::span<const std::int64_t> ends) noexcept {
  const std::size_t count = starts.size();
  if (is_in_order(starts, ends)) return {starts.front(), ends.back(), -1, true};
  IntervalsRange range{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(), -1, true};
  std::int64_t last_start = range.last_ns;
  std::int64_t last_end = range.last_ns;
  bool unsorted = false;
  bool backwards = false;
  for (std::size_t i = 0; i < count; ++i) {
    range.first_ns = std::min(range.first_ns, starts[i]);
    range.last_ns = std::max(range.last_ns, ends[i]);
    backwards |= ends[i] < starts[i];
    unsorted |= starts[i] < std::exchange(last_start, starts[i]);
    unsorted |= ends[i] < std::exchange(last_end, ends[i]);
  }
  range.sorted = !unsorted;
  for (std::size_t i = 0; backwards && range.backwards < 0; ++i) {
    if (ends[i] < starts[i]) range.backwards = static_cast<std::ptrdiff_t>(i);
  }
  return range;
}

void energies_between(std::span<const Edge> edges, const EnergyModel& model, std::span<const std::int64_t> starts,
                      std::span<const std::int64_t> ends, bool sorted, Energies out, bool rare, std::span<const Edge> guide) {
  if (starts.empty()) return;
  const Points points(edges, model, guide);
  const Question question{starts, ends};
  std::uint32_t flags_seen = kAnyFlags;
  if (starts.size() * 64 < edges.size()) {  // neither a walk nor an index would pay
    answer_few(points, question, out);
  } else if (sorted) {
    std::atomic<std::uint32_t> seen{0};
    share_out(starts.size(), kLeastPart, [&](std::size_t begin, std::size_t end) {
      seen.fetch_or(answer_sorted(points, question, out, begin, end), std::memory_order_relaxed);
    });
    flags_seen = seen.load(std::memory_order_relaxed);
  } else {
    const TimeIndex index(edges);
    share_out(starts.size(), kLeastPart, [&](std::size_t begin, std::size_t end) {
      answer_indexed(points, index, question, out, begin, end);
    });
  }
  if (rare && !out.flags.empty() && (flags_seen & kRareEdgeFlags) != 0) add_rare_flags(points, question, out.flags);
}

}  // namespace powerprobe
