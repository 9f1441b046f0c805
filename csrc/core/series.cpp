// SPDX-License-Identifier: MIT
#include "core/series.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>
#include <vector>

namespace powerprobe {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Edges below 2^32 in a ring: 128 GiB of them. Indices are 32 bits to keep the index small.
using Index = std::uint32_t;

// How far ahead memory is asked for that is read in order. The processor's own prefetch stops at the end of each page (128
// edges): without ours the check of a million intervals took 3.2 ms instead of 1.5, the walk along their edges 14 instead of 7.
constexpr std::uint32_t kAhead = 256;

// The last edge with t_ns <= t among [low, high), or low.
Index search(const Edge* edges, Index low, Index high, std::int64_t t) noexcept {
  while (high - low > 1) {
    const Index middle = low + (high - low) / 2;
    if (edges[middle].t_ns <= t) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// The same from a cursor that is not beyond t: the next few edges are compared all at once, without a branch, because which of
// them a question is about cannot be predicted; beyond them by doubling.
template <Index kAtOnce>
inline Index advance(const Edge* edges, Index at, Index last, std::int64_t t) noexcept {
  if (at + kAtOnce <= last) {
    Index passed = 0;
    for (Index i = 1; i <= kAtOnce; ++i) passed += static_cast<Index>(edges[at + i].t_ns <= t);
    at += passed;
    if (passed < kAtOnce) return at;
  }
  Index step = 1;
  while (at + step <= last && edges[at + step].t_ns <= t) {
    at += step;
    step *= 2;
  }
  return search(edges, at, std::min<Index>(at + step, last + 1), t);
}

// The point at t, given the last edge with t_ns <= t. Never the last edge of all: a point needs one behind it.
inline Point point_on(const Edge* edges, double quantum, Index at, std::int64_t t) noexcept {
  const Edge& before = edges[at];
  const Edge& after = edges[at + 1];
  Index bound = at + 1;
  while (edges[bound].t_ns - static_cast<std::int64_t>(edges[bound].gap_ns) < t) ++bound;
  const double share = static_cast<double>(t - before.t_ns) / static_cast<double>(after.t_ns - before.t_ns);
  return {t, before.joules + (after.joules - before.joules) * share, before.joules,
          edges[bound].segment == before.segment ? edges[bound].joules + quantum : kInfinity, before.segment};
}

inline Energy between(const Point& start, const Point& end) noexcept {
  return {end.joules - start.joules, std::max(0.0, end.lower - start.upper),
          start.segment == end.segment ? end.upper - start.lower : kInfinity};
}

inline Energy estimated_between(const Point& start, const Point& end, const EnergyModel& model) noexcept {
  const double seconds = static_cast<double>(end.t_ns - start.t_ns) * 1e-9;
  const double lower = model.low_watts * seconds;
  const double upper = model.high_watts * seconds;
  return {std::clamp(end.joules - start.joules, lower, upper), lower, upper};
}

// Finds the edge before an instant in any order of asking: every 16th time in a compact array, and for each of as many equal
// slices of time the first of those that can hold it. Steps of real counters are uneven (on Ice Lake-SP by a factor of two),
// so a guess from the mean step drifts off by hundreds of edges; inside 16 edges it does not.
class TimeIndex {
 public:
  explicit TimeIndex(std::span<const Edge> edges) : edges_(edges.data()), last_(static_cast<Index>(edges.size() - 1)) {
    const std::size_t count = edges.size() / kStride + 1;
    times_.reserve(count + 1);
    for (std::size_t i = 0; i < edges.size(); i += kStride) times_.push_back(edges[i].t_ns);
    times_.push_back(std::numeric_limits<std::int64_t>::max());
    first_ns_ = edges.front().t_ns;
    const auto span_ns = static_cast<double>(edges.back().t_ns - first_ns_ + 1);
    slices_per_ns_ = static_cast<double>(count) / span_ns;
    slices_.resize(count + 1);
    Index block = 0;
    for (std::size_t slice = 0; slice <= count; ++slice) {
      const auto begin_ns = first_ns_ + static_cast<std::int64_t>(static_cast<double>(slice) / slices_per_ns_) - 1;
      while (times_[block + 1] <= begin_ns) ++block;
      slices_[slice] = block;
    }
  }

  // Two passes over a batch, so that the memory the second one needs is on its way.
  void find(const std::int64_t* times, Index* found, std::size_t count) const noexcept {
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t t = times[i];
      Index block = slices_[static_cast<std::size_t>(static_cast<double>(t - first_ns_) * slices_per_ns_)];
      Index steps = 0;
      while (times_[block + 1] <= t && ++steps < kMaxSteps) ++block;
      if (times_[block + 1] <= t) {
        block = static_cast<Index>(std::upper_bound(times_.begin() + block, times_.end(), t) - times_.begin() - 1);
      }
      const Index first = block * kStride;
      const Index size = std::min<Index>(kStride, last_ + 1 - first);
      // The guess inside the block; the end of the last block is not known here and does not matter.
      const auto length = static_cast<double>(std::min(times_[block + 1], edges_[last_].t_ns + 1) - times_[block]);
      const auto guess = static_cast<Index>(static_cast<double>(t - times_[block]) / length * static_cast<double>(size));
      found[i] = first + std::min(guess, size - 1);
      __builtin_prefetch(edges_ + found[i]);
      __builtin_prefetch(edges_ + found[i] + 3);
    }
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t t = times[i];
      Index at = found[i];
      while (edges_[at].t_ns > t) --at;  // ends at 0: all instants are answerable
      while (at < last_ && edges_[at + 1].t_ns <= t) ++at;
      found[i] = at;
    }
  }

 private:
  static constexpr Index kStride = 16;
  static constexpr Index kMaxSteps = 8;  // beyond that (long pauses among the edges) a binary search is cheaper

  const Edge* edges_;
  Index last_;
  std::int64_t first_ns_;
  double slices_per_ns_;
  std::vector<std::int64_t> times_;
  std::vector<Index> slices_;
};

}  // namespace

EnergyModel EnergyModel::of(const ChannelInfo& channel) noexcept {
  // A counter that is shown in other units than its own (powercap: whole microjoules of a 61 microjoule step) is cut off twice.
  const double quantum =
      channel.quantum_joules > 0.0 ? channel.quantum_joules + channel.joules_per_count : channel.joules_per_count;
  return {quantum, channel.low_watts, channel.high_watts};
}

Point point_at(std::span<const Edge> edges, const EnergyModel& model, std::int64_t t_ns) noexcept {
  const auto last = static_cast<Index>(edges.size() - 1);
  return point_on(edges.data(), model.quantum_joules, std::min(search(edges.data(), 0, last + 1, t_ns), last - 1), t_ns);
}

Energy energy_between(const Point& start, const Point& end, const EnergyModel& model) noexcept {
  return model.estimated() ? estimated_between(start, end, model) : between(start, end);
}

IntervalsRange intervals_range(std::span<const std::int64_t> starts, std::span<const std::int64_t> ends) noexcept {
  IntervalsRange range{std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min(), -1, true};
  const std::size_t count = starts.size();
  bool backwards = false;
  bool unsorted = false;
  std::int64_t last_start = range.last_ns;
  std::int64_t last_end = range.last_ns;
  for (std::size_t i = 0; i < count; ++i) {
    __builtin_prefetch(&starts[0] + std::min(i + kAhead, count));
    __builtin_prefetch(&ends[0] + std::min(i + kAhead, count));
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
                      std::span<const std::int64_t> ends, bool sorted, Energies out) {
  const Edge* const first = edges.data();
  const auto last = static_cast<Index>(edges.size() - 1);
  const std::size_t count = starts.size();
  const bool estimated = model.estimated();
  const auto answer = [=](std::size_t i, Index at_start, Index at_end) noexcept {
    const Point start = point_on(first, model.quantum_joules, std::min(at_start, last - 1), starts[i]);
    const Point end = point_on(first, model.quantum_joules, std::min(at_end, last - 1), ends[i]);
    const Energy energy = estimated ? estimated_between(start, end, model) : between(start, end);
    out.joules[i] = energy.joules;
    out.lower[i] = energy.lower;
    out.upper[i] = energy.upper;
  };
  if (sorted) {  // walks along with the edges
    Index start = 0;
    Index end = 0;
    for (std::size_t i = 0; i < count; ++i) {
      __builtin_prefetch(first + std::min(end + kAhead, last));
      start = advance<4>(first, start, last, starts[i]);
      end = advance<4>(first, end, last, ends[i]);
      answer(i, start, end);
    }
    return;
  }
  if (count * 64 < edges.size()) {  // too few to pay for an index
    for (std::size_t i = 0; i < count; ++i) {
      answer(i, search(first, 0, last + 1, starts[i]), search(first, 0, last + 1, ends[i]));
    }
    return;
  }
  constexpr std::size_t kBatch = 256;
  std::array<Index, kBatch> at_start;
  std::array<Index, kBatch> at_end;
  const TimeIndex index(edges);
  // Ends of short intervals are a few edges on from their starts, which are in the cache by then.
  const std::int64_t short_ns = 8 * (edges.back().t_ns - edges.front().t_ns) / static_cast<std::int64_t>(edges.size());
  for (std::size_t from = 0; from < count; from += kBatch) {
    const std::size_t size = std::min(kBatch, count - from);
    index.find(starts.data() + from, at_start.data(), size);
    bool all_short = true;
    for (std::size_t i = from; i < from + size; ++i) all_short &= ends[i] - starts[i] < short_ns;
    if (all_short) {
      for (std::size_t i = 0; i < size; ++i) at_end[i] = advance<3>(first, at_start[i], last, ends[from + i]);
    } else {
      index.find(ends.data() + from, at_end.data(), size);
    }
    for (std::size_t i = 0; i < size; ++i) answer(from + i, at_start[i], at_end[i]);
  }
}

}  // namespace powerprobe
