// SPDX-License-Identifier: MIT
#include "core/series.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

using namespace powerprobe;

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kQuantum = 1.0 / 65536.0;

enum class Steps { kEven, kUneven, kPauses };

// Edges of a load that is made up; `resets`: one edge in that many starts a segment (0: none). One in a few hundred has a flag,
// so that there are stretches without any.
std::vector<Edge> make_edges(std::size_t count, Steps steps, unsigned resets, std::mt19937_64& random) {
  constexpr unsigned kFlagged = 300;
  std::vector<Edge> edges(count);
  std::int64_t t_ns = 1'000'000'000;
  std::uint64_t counts = 0;
  std::uint32_t segment = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto jitter = static_cast<std::int64_t>(random() % 1'000'000);
    std::int64_t step_ns = 1'000'000;
    if (steps != Steps::kEven) step_ns = 500'000 + jitter;
    if (steps == Steps::kPauses && random() % 50 == 0) step_ns += jitter * 1000;
    t_ns += step_ns;
    if (resets != 0 && i > 0 && random() % resets == 0) ++segment;
    counts += random() % 1000;  // at a reset as well, which a sampler does not do: nothing may depend on it
    edges[i].t_ns = t_ns;
    edges[i].joules = static_cast<double>(counts) * kQuantum;
    // Up to three steps long: where readings failed, or stamped and unstamped edges follow each other.
    // Most are seen tightly.
    edges[i].gap_ns = static_cast<std::uint32_t>(random() % 2000);
    if (random() % 20 == 0) edges[i].gap_ns = static_cast<std::uint32_t>(random() % 400'000);
    if (random() % 20 == 0) edges[i].gap_ns = static_cast<std::uint32_t>(random() % 3'000'000);
    edges[i].segment = segment;
    if (random() % kFlagged == 0) edges[i].flags = 1u << random() % 11;
  }
  return edges;
}

// The rules at the top of series.hpp, word for word and without any cleverness. Times are nanoseconds since edge 0.
struct Naive {
  const std::vector<Edge>& edges;
  EnergyModel model;
  std::vector<Edge> guide = {};

  double time(std::size_t i) const { return static_cast<double>(edges[i].t_ns - edges[0].t_ns); }
  double gap(std::size_t i) const { return static_cast<double>(edges[i].gap_ns); }
  double watts() const { return model.max_watts > 0.0 ? model.max_watts * 1e-9 : kInfinity; }

  double middle(std::size_t i) const {
    if (i > 0) return time(i) - std::min(gap(i), time(i) - time(i - 1)) / 2;
    const bool is_first_reading = (edges[0].flags & kEdgeFirst) != 0 && model.period_ns > 0;
    return time(0) - (is_first_reading ? std::min(gap(0), static_cast<double>(model.period_ns)) : gap(0)) / 2;
  }

  double place(std::size_t i) const {
    if (i == 0) return middle(i);
    if (edges[i].segment != edges[i - 1].segment) return time(i);
    const double step = time(i) - time(i - 1);
    const bool is_wide = gap(i) > step / 16;
    if (!is_wide || i + 1 == edges.size() || edges[i + 1].segment != edges[i].segment) return middle(i);
    const double left = edges[i - 1].joules;
    const double right = edges[i + 1].joules;
    if (left == right) return middle(i);
    const double line = middle(i - 1) + (middle(i + 1) - middle(i - 1)) * (edges[i].joules - left) / (right - left);
    return std::min(std::max({line, time(i) - gap(i), time(i - 1) + step / 16}), time(i));
  }

  double guide_place(std::size_t i) const {
    const auto gap_ns = static_cast<std::int64_t>(guide[i].gap_ns);
    return static_cast<double>(guide[i].t_ns - edges[0].t_ns) -
           static_cast<double>(i == 0 ? gap_ns : std::min(gap_ns, guide[i].t_ns - guide[i - 1].t_ns)) / 2;
  }

  double guide_total(double t) const {
    std::size_t i = 0;
    while (i + 2 < guide.size() && guide_place(i + 1) <= t) ++i;
    return guide[i].joules + (guide[i + 1].joules - guide[i].joules) * (t - guide_place(i)) / (guide_place(i + 1) - guide_place(i));
  }

  // Of the step from one place to another, at t between them.
  double share(double from, double t, double to) const {
    const double straight = (t - from) / (to - from);
    if (guide.size() < 2 || guide_place(0) > from || guide_place(guide.size() - 1) < to) return straight;
    std::size_t first = 0;
    std::size_t last = guide.size() - 1;
    while (guide_place(first + 1) <= from) ++first;
    while (guide_place(last - 1) >= to) --last;
    const double rise = guide_total(to) - guide_total(from);
    if (guide[first].segment != guide[last].segment || rise <= 0.0) return straight;
    return (guide_total(t) - guide_total(from)) / rise;
  }

  // Energy that may have been used in so many nanoseconds.
  double most(double ns) const { return ns <= 0.0 ? 0.0 : watts() * ns; }

  Point point(std::int64_t t_ns) const {
    const auto t = static_cast<double>(t_ns - edges[0].t_ns);
    std::size_t at = 0;
    for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
      if (edges[i].t_ns <= t_ns) at = i;  // the last with t_ns <= t that has another one behind it
    }
    Point point;
    point.t_ns = t_ns;
    point.segment = edges[at].segment;
    point.flags = edges[at].flags;
    point.lower = edges[at].joules;
    if (edges[at + 1].segment == point.segment) {
      point.lower = std::max(point.lower, edges[at + 1].joules - most(time(at + 1) - t));
    }
    point.upper = kInfinity;
    if (model.max_watts > 0.0) point.upper = edges[at].joules + model.quantum_joules + most(t - time(at) + gap(at));
    for (std::size_t i = at + 1; i < edges.size(); ++i) {
      point.flags |= edges[i].flags;
      if (edges[i].segment != point.segment) break;
      point.upper = std::min(point.upper, edges[i].joules + model.quantum_joules + most(t - time(i) + gap(i)));
      if (time(i) - gap(i) >= t) break;
    }
    std::size_t from = 0;
    for (std::size_t i = 0; i + 1 < edges.size(); ++i) {
      if (place(i) <= t) from = i;
    }
    point.joules = edges[from].joules;
    if (edges[from + 1].segment == edges[from].segment) {
      point.joules += (edges[from + 1].joules - edges[from].joules) * share(place(from), t, place(from + 1));
    }
    point.joules = std::min(std::max(point.joules, point.lower), point.upper);
    return point;
  }

  Energy energy(std::int64_t start_ns, std::int64_t end_ns) const {
    const Point start = point(start_ns);
    const Point end = point(end_ns);
    const double ns = static_cast<double>(end_ns - start_ns);
    Energy energy;
    energy.lower = std::max(0.0, end.lower - start.upper - model.quantum_joules * (end.segment - start.segment));
    energy.upper = start.segment == end.segment ? end.upper - start.lower : kInfinity;
    if (model.spill_joules > 0.0 || model.blind_joules > 0.0) {
      const double periods = 1.0 + ns / static_cast<double>(model.period_ns);
      const double untold = 2.0 * model.spill_joules + std::sqrt(periods) * model.blind_joules;
      energy.lower = std::max(0.0, energy.lower - untold);
      energy.upper += untold;
    }
    if (model.max_watts > 0.0) energy.upper = std::min(energy.upper, most(ns));
    if (model.high_watts > 0.0) {
      energy.lower = model.low_watts * 1e-9 * ns;
      energy.upper = model.high_watts * 1e-9 * ns;
    }
    energy.joules = std::min(std::max(end.joules - start.joules, energy.lower), energy.upper);
    energy.flags = start.flags | end.flags | (start.segment == end.segment ? 0u : kEdgeReset);
    return energy;
  }

  // With what happened strictly inside.
  std::uint32_t flags(std::int64_t start_ns, std::int64_t end_ns) const {
    std::uint32_t flags = energy(start_ns, end_ns).flags;
    for (const Edge& edge : edges) {
      if (edge.t_ns > start_ns && edge.t_ns <= end_ns) {
        flags |= edge.flags & (kEdgeWrapped | kEdgeReset | kEdgeAmbiguous | kEdgeDropped);
      }
    }
    return flags;
  }
};

bool same(double a, double b) { return a == b || std::abs(a - b) <= 1e-9 * std::max(1.0, std::abs(b)); }

// Any instant that can be answered, often one on an edge or at the far end of its gap, or beside one.
std::int64_t random_instant(const std::vector<Edge>& edges, std::mt19937_64& random) {
  const std::int64_t first = first_answerable_ns(edges);
  const std::int64_t last = last_answerable_ns(edges);
  std::int64_t t_ns = first + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(last - first + 1));
  const Edge& edge = edges[random() % edges.size()];
  const std::int64_t beside = static_cast<std::int64_t>(random() % 3) - 1;
  if (random() % 4 == 0) t_ns = edge.t_ns + beside;
  if (random() % 8 == 0) t_ns = edge.t_ns - static_cast<std::int64_t>(edge.gap_ns) + beside;
  return std::clamp(t_ns, first, last);
}

struct Intervals {
  std::vector<std::int64_t> starts, ends;
};

Intervals random_intervals(const std::vector<Edge>& edges, std::size_t count, bool sorted, std::mt19937_64& random) {
  Intervals intervals;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t a = random_instant(edges, random);
    const std::int64_t b = random() % 10 == 0 ? a : random_instant(edges, random);
    intervals.starts.push_back(std::min(a, b));
    intervals.ends.push_back(std::max(a, b));
  }
  if (sorted) {  // each on its own: the i-th smallest start is never behind the i-th smallest end
    std::sort(intervals.starts.begin(), intervals.starts.end());
    std::sort(intervals.ends.begin(), intervals.ends.end());
  }
  return intervals;
}

// How many of the intervals differ from the reference.
std::size_t differing(const std::vector<Edge>& edges, const EnergyModel& model, const Intervals& intervals, bool sorted,
                      const std::vector<Edge>& guide = {}) {
  const std::size_t count = intervals.starts.size();
  std::vector<double> joules(count, -1.0), lower(count, -1.0), upper(count, -1.0);
  std::vector<std::uint32_t> flags(count, 1u << 31);
  energies_between(edges, model, intervals.starts, intervals.ends, sorted, {joules, lower, upper, flags}, true, guide);
  const Naive naive{edges, model, guide};
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const Energy want = naive.energy(intervals.starts[i], intervals.ends[i]);
    wrong += !same(joules[i], want.joules) || !same(lower[i], want.lower) || !same(upper[i], want.upper) ||
             flags[i] != naive.flags(intervals.starts[i], intervals.ends[i]);
  }
  return wrong;
}

Edge edge(std::int64_t t_ns, double joules, std::uint32_t gap_ns, std::uint32_t segment = 0) {
  Edge result;
  result.t_ns = t_ns;
  result.joules = joules;
  result.gap_ns = gap_ns;
  result.segment = segment;
  return result;
}

}  // namespace

TEST_CASE("between the middles of two gaps the total is linear, bounded by what was counted before and after") {
  const std::vector<Edge> edges{edge(1000, 0.0, 40), edge(2000, 10.0, 40), edge(3000, 30.0, 100)};
  const EnergyModel model{.quantum_joules = 1.0};

  const Point point = point_at(edges, model, 1500);
  CHECK(point.t_ns == 1500);
  CHECK(point.joules == doctest::Approx(5.2));  // 520 of the 1000 ns between the middles
  CHECK(point.lower == 0.0);
  CHECK(point.upper == 11.0);

  // Inside the gap of an edge the step may have happened before or after: the edge after it bounds.
  const Point inside = point_at(edges, model, 1970);
  CHECK(inside.joules == doctest::Approx(9.9));
  CHECK(inside.lower == 0.0);
  CHECK(inside.upper == 31.0);
  CHECK(point_at(edges, model, 1980).joules == doctest::Approx(10.0));
  CHECK(point_at(edges, model, 1960).upper == 11.0);

  const Point on = point_at(edges, model, 2000);
  CHECK(on.joules == doctest::Approx(10.0 + 20.0 * 20.0 / 970.0));
  CHECK(on.lower == 10.0);
  CHECK(on.upper == 31.0);
}

TEST_CASE("answers reach from the first edge to the far end of the last edge's gap") {
  const std::vector<Edge> edges{edge(1000, 0.0, 0), edge(2000, 10.0, 100)};
  CHECK(first_answerable_ns(edges) == 1000);
  CHECK(last_answerable_ns(edges) == 1900);
  CHECK(point_at(edges, {.quantum_joules = 1.0}, 1000).joules == 0.0);
  CHECK(point_at(edges, {.quantum_joules = 1.0}, 1900).joules == doctest::Approx(10.0 * 900.0 / 950.0));
}

TEST_CASE("an instant on the very last edge is answered when it has no gap") {
  const std::vector<Edge> edges{edge(1000, 0.0, 0), edge(2000, 10.0, 0)};
  const Point point = point_at(edges, {.quantum_joules = 1.0}, 2000);
  CHECK(point.joules == doctest::Approx(10.0));
  CHECK(point.lower == 10.0);
  CHECK(point.upper == 11.0);
}

TEST_CASE("a late edge stands where the line between its neighbours reaches its joules") {
  // 10 W since 0, seen at 1000, then 900 ns late, then in time.
  const std::vector<Edge> edges{edge(1000, 1000.0, 0), edge(2900, 2000.0, 1800), edge(3000, 3000.0, 0), edge(4000, 4000.0, 0)};
  for (const std::int64_t t_ns : {1000, 1500, 2000, 2500, 2950, 3000, 3900}) {
    CAPTURE(t_ns);
    CHECK(point_at(edges, {}, t_ns).joules == doctest::Approx(static_cast<double>(t_ns)));
  }
  // The load was not constant: the line reaches it outside of the gap.
  const auto at = [](double joules, std::uint32_t gap_ns, std::int64_t t_ns) {
    return point_at(std::vector{edge(1000, 0.0, 0), edge(2600, joules, gap_ns), edge(3000, 1000.0, 0)}, {}, t_ns).joules;
  };
  CHECK(at(900.0, 400, 2600) == doctest::Approx(900.0));  // not after it was seen
  CHECK(at(100.0, 400, 2200) == doctest::Approx(100.0));  // not before the gap
  CHECK(at(10.0, 1600, 1100) == doctest::Approx(10.0));   // nor at once after the edge before
  CHECK(at(100.0, 100, 2550) == doctest::Approx(100.0));  // a gap of a sixteenth is not a wide one: its middle
  CHECK(at(100.0, 101, 2499) == doctest::Approx(100.0));
}

TEST_CASE("the first reading is no older than an update period, whatever its gap") {
  std::vector<Edge> edges{edge(10'000, 0.0, 6000), edge(10'900, 1000.0, 0), edge(11'900, 2000.0, 0)};
  const EnergyModel model{.quantum_joules = 1.0, .period_ns = 1000};
  const auto at = [&](const EnergyModel& with) { return point_at(edges, with, 10'000); };
  CHECK(at(model).joules == doctest::Approx(1000.0 * 3000.0 / 3900.0));  // any other edge: the middle of its gap
  edges[0].flags = kEdgeFirst;
  CHECK(at(model).joules == doctest::Approx(1000.0 * 500.0 / 1400.0));
  CHECK(at({.quantum_joules = 1.0}).joules == doctest::Approx(1000.0 * 3000.0 / 3900.0));  // of no known period
  CHECK(at({.quantum_joules = 1.0, .period_ns = 9000}).joules == doctest::Approx(1000.0 * 3000.0 / 3900.0));
  CHECK(at(model).upper == 1001.0);
  CHECK(at(model).lower == 0.0);
}

TEST_CASE("a limit of the power bounds from all edges around") {
  const std::vector<Edge> edges{edge(1000, 0.0, 10), edge(2000, 1000.0, 500), edge(3000, 1500.0, 10), edge(4000, 1600.0, 10)};
  const EnergyModel model{.quantum_joules = 1.0, .max_watts = 2e9};  // 2 J in a nanosecond
  const auto at = [&](std::int64_t t_ns) { return point_at(edges, model, t_ns); };
  CHECK(at(1100).upper == doctest::Approx(1.0 + 2.0 * 110.0));         // no faster since the edge before
  CHECK(at(1490).upper == doctest::Approx(1.0 + 2.0 * 490.0 + 20.0));
  CHECK(at(1600).upper == doctest::Approx(1001.0 + 2.0 * 100.0));      // in the gap: since its beginning
  CHECK(at(1900).upper == doctest::Approx(1501.0));                    // the bounding edge
  CHECK(at(1400).lower == 0.0);
  CHECK(at(1900).lower == doctest::Approx(1000.0 - 2.0 * 100.0));      // what the next edge counted was not used all at once
  CHECK(at(2000).lower == doctest::Approx(1000.0));
  const Energy energy = energy_between(at(1900), at(2000), model);
  CHECK(energy.upper == doctest::Approx(200.0));                       // of two points, each of which may be much further off
  CHECK(energy.lower == 0.0);
}

TEST_CASE("flags are those of the edges that define a point, and of a reset between two") {
  std::vector<Edge> edges{edge(1000, 0.0, 0), edge(2000, 10.0, 100), edge(3000, 30.0, 100), edge(4000, 30.0, 0, 1),
                          edge(5000, 40.0, 0, 1)};
  for (std::uint32_t i = 0; i < edges.size(); ++i) edges[i].flags = 1u << i;
  edges[3].flags = 0;  // its flag was lost
  const EnergyModel model;
  CHECK(point_at(edges, model, 1500).flags == 0b11);
  CHECK(point_at(edges, model, 1950).flags == 0b111);
  CHECK(point_at(edges, model, 2000).flags == 0b110);
  CHECK(point_at(edges, model, 3500).flags == 0b100);
  CHECK(energy_between(point_at(edges, model, 1500), point_at(edges, model, 2500), model).flags == 0b111);
  CHECK(energy_between(point_at(edges, model, 1500), point_at(edges, model, 4500), model).flags == (0b10011 | kEdgeReset));
}

TEST_CASE("what is rare is told of an interval wherever in it that happened, and only if it is asked for") {
  for (const bool sorted : {false, true}) {
    std::vector<Edge> edges;
    for (int i = 0; i < 3000; ++i) edges.push_back(edge(i * 1000, i, 1));
    edges[1000].flags = kEdgeWrapped | kEdgeLate;
    edges[2000].flags = kEdgeDropped;
    // Short ones around everything, so that it is a question for many; then long ones.
    Intervals intervals;
    for (int i = 0; i < 2000; ++i) {
      intervals.starts.push_back(i * 1000);
      intervals.ends.push_back(i < 20 ? 999'999 + i / 2 : std::max(1'500'000, i * 1000 + 500));
    }
    std::sort(intervals.ends.begin(), intervals.ends.end());
    CAPTURE(sorted);
    CHECK(differing(edges, {.quantum_joules = 1.0}, intervals, sorted) == 0);
    const std::size_t count = intervals.starts.size();
    std::vector<double> joules(count), lower(count), upper(count);
    std::vector<std::uint32_t> flags(count);
    energies_between(edges, {}, intervals.starts, intervals.ends, sorted, {joules, lower, upper, flags}, false);
    CHECK(flags[100] == 0);
    energies_between(edges, {}, intervals.starts, intervals.ends, sorted, {joules, lower, upper, flags});
    CHECK(flags[100] == kEdgeWrapped);
    energies_between(edges, {}, intervals.starts, intervals.ends, sorted, {joules, lower, upper});  // nobody wants to know
  }
}

TEST_CASE("a reset leaves no upper bound to what lies around it, and the counted part as lower bound") {
  const std::vector<Edge> edges{edge(1000, 0.0, 0), edge(2000, 10.0, 0), edge(3000, 10.0, 0, 1), edge(4000, 15.0, 0, 1),
                                edge(5000, 20.0, 0, 1)};
  const EnergyModel model{.quantum_joules = 1.0};
  CHECK(point_at(edges, model, 1500).upper == 11.0);
  CHECK(point_at(edges, model, 2500).upper == kInfinity);
  CHECK(point_at(edges, model, 3500).upper == 16.0);

  const Energy across = energy_between(point_at(edges, model, 1000), point_at(edges, model, 4500), model);
  CHECK(across.joules == doctest::Approx(17.5));
  CHECK(across.lower == doctest::Approx(3.0));  // the rest of a quantum is lost with what was not counted
  CHECK(across.upper == kInfinity);
  const EnergyModel limited{.quantum_joules = 1.0, .max_watts = 1e9};
  CHECK(point_at(edges, limited, 2500).upper == doctest::Approx(511.0));
  CHECK(energy_between(point_at(edges, limited, 1000), point_at(edges, limited, 4500), limited).upper == doctest::Approx(3500.0));
  const Energy behind = energy_between(point_at(edges, model, 3500), point_at(edges, model, 4500), model);
  CHECK(behind.upper == doctest::Approx(11.0));
}

TEST_CASE("no interval has negative energy, and an empty one is bounded from zero") {
  const std::vector<Edge> edges{edge(1000, 0.0, 0), edge(2000, 10.0, 0), edge(3000, 30.0, 0)};
  const EnergyModel model{.quantum_joules = 1.0};
  const Point point = point_at(edges, model, 1500);
  const Energy nothing = energy_between(point, point, model);
  CHECK(nothing.joules == 0.0);
  CHECK(nothing.lower == 0.0);
  CHECK(nothing.upper == 11.0);
}

TEST_CASE("an estimate stays within its watts, whatever the edges say") {
  const std::vector<Edge> edges{edge(0, 0.0, 0), edge(1'000'000'000, 50.0, 0), edge(2'000'000'000, 50.0, 0)};
  const EnergyModel model{.low_watts = 10.0, .high_watts = 40.0};
  CHECK(model.estimated());
  const auto energy = [&](std::int64_t start_ns, std::int64_t end_ns) {
    return energy_between(point_at(edges, model, start_ns), point_at(edges, model, end_ns), model);
  };
  const Energy high = energy(0, 1'000'000'000);
  CHECK(high.joules == doctest::Approx(40.0));
  CHECK(high.lower == doctest::Approx(10.0));
  CHECK(high.upper == doctest::Approx(40.0));
  CHECK(energy(1'000'000'000, 2'000'000'000).joules == doctest::Approx(10.0));
  CHECK(energy(0, 2'000'000'000).joules == doctest::Approx(50.0));
}

TEST_CASE("the quantum is the counter's own step, and one count more where it is shown in other units") {
  ChannelInfo channel;
  channel.joules_per_count = 1e-6;
  CHECK(EnergyModel::of(channel).quantum_joules == 1e-6);
  channel.quantum_joules = 61e-6;
  CHECK(EnergyModel::of(channel).quantum_joules == doctest::Approx(62e-6).scale(0.0));
  CHECK_FALSE(EnergyModel::of(channel).estimated());
  channel.low_watts = 1.0;
  channel.high_watts = 2.0;
  CHECK(EnergyModel::of(channel).estimated());
  CHECK(EnergyModel::of(channel).low_watts == 1.0);
  CHECK(EnergyModel::of(channel).high_watts == 2.0);
  CHECK_FALSE(EnergyModel{.low_watts = 1.0}.estimated());
  CHECK(EnergyModel::of(channel).max_watts == 0.0);
  channel.max_watts = 300.0;
  CHECK(EnergyModel::of(channel).max_watts == 300.0);
  channel.spill_joules = 2.0;
  channel.blind_joules = 3.0;
  channel.update_period_ns = 4;
  CHECK(EnergyModel::of(channel).spill_joules == 2.0);
  CHECK(EnergyModel::of(channel).blind_joules == 3.0);
  CHECK(EnergyModel::of(channel).period_ns == 4);
}
TEST_CASE("one instant: the same as the reference, for every kind of steps") {
  std::mt19937_64 random(1);
  for (const Steps steps : {Steps::kEven, Steps::kUneven, Steps::kPauses}) {
    for (const unsigned resets : {0u, 20u}) {
      const auto edges = make_edges(200, steps, resets, random);
      for (const double max_watts : {0.0, 5.0, 16.0, 1000.0}) {  // the load has about 8, at most 31
        const EnergyModel model{.quantum_joules = kQuantum, .max_watts = max_watts};
        std::size_t wrong = 0;
        for (int i = 0; i < 1000; ++i) {
          const std::int64_t t_ns = random_instant(edges, random);
          const Point got = point_at(edges, model, t_ns);
          const Point want = Naive{edges, model}.point(t_ns);
          wrong += got.t_ns != want.t_ns || got.segment != want.segment || got.flags != want.flags ||
                   !same(got.lower, want.lower) || !same(got.upper, want.upper) || !same(got.joules, want.joules);
        }
        CAPTURE(static_cast<int>(steps));
        CAPTURE(resets);
        CAPTURE(max_watts);
        CHECK(wrong == 0);
      }
    }
  }
}

// Sizes on both sides of everything the search distinguishes: two edges, less than a block of 16, exact blocks, many; few
// questions (searched one by one) and many (with an index), more than one batch.
TEST_CASE("many intervals: the same as the reference, sorted or not, for every size and kind of steps") {
  std::mt19937_64 random(2);
  for (const std::size_t size : {2u, 3u, 15u, 16u, 17u, 32u, 33u, 500u}) {
    for (const Steps steps : {Steps::kEven, Steps::kUneven, Steps::kPauses}) {
      for (const unsigned resets : {0u, 20u}) {
        for (const EnergyModel& model :
             {EnergyModel{.quantum_joules = kQuantum}, EnergyModel{.quantum_joules = kQuantum, .max_watts = 16.0},
              EnergyModel{.quantum_joules = kQuantum, .low_watts = 2.0, .high_watts = 9.0}}) {
          auto edges = make_edges(size, steps, resets, random);
          edges.back().gap_ns = static_cast<std::uint32_t>(random() % 2 * (edges.back().gap_ns % 400'000));
          for (const std::size_t count : {std::size_t{1}, size / 65 + 1, std::size_t{600}}) {
            for (const bool sorted : {false, true}) {
              CAPTURE(size);
              CAPTURE(static_cast<int>(steps));
              CAPTURE(resets);
              CAPTURE(model.max_watts);
              CAPTURE(model.estimated());
              CAPTURE(count);
              CAPTURE(sorted);
              CHECK(differing(edges, model, random_intervals(edges, count, sorted, random), sorted) == 0);
            }
          }
        }
      }
    }
  }
}

// Ends near their starts are searched from there.
TEST_CASE("many short intervals in any order: the same as the reference") {
  std::mt19937_64 random(4);
  for (const Steps steps : {Steps::kEven, Steps::kUneven, Steps::kPauses}) {
    const auto edges = make_edges(300, steps, 0, random);
    Intervals intervals;
    for (int i = 0; i < 1000; ++i) {
      const std::int64_t start_ns = random_instant(edges, random);
      const auto length_ns = static_cast<std::int64_t>(random() % 7'000'000);
      intervals.starts.push_back(start_ns);
      intervals.ends.push_back(std::min(start_ns + length_ns, last_answerable_ns(edges)));
    }
    CAPTURE(static_cast<int>(steps));
    CHECK(differing(edges, {.quantum_joules = kQuantum}, intervals, false) == 0);
  }
}

TEST_CASE("gaps that reach back over many edges: the same as the reference") {
  std::mt19937_64 random(6);
  auto edges = make_edges(1000, Steps::kUneven, 0, random);
  for (Edge& edge : edges) edge.gap_ns = static_cast<std::uint32_t>(random() % 8'000'000);
  for (const bool sorted : {false, true}) {
    CAPTURE(sorted);
    const EnergyModel model{.quantum_joules = kQuantum, .max_watts = 16.0};
    CHECK(differing(edges, model, random_intervals(edges, 2000, sorted, random), sorted) == 0);
  }
}

// Questions so large that they are shared among threads, cut so that no part ends where a batch does.
TEST_CASE("a very large question has the same answers as its parts") {
  std::mt19937_64 random(5);
  const auto edges = make_edges(5000, Steps::kUneven, 0, random);
  const EnergyModel model{.quantum_joules = kQuantum, .max_watts = 16.0};
  constexpr std::size_t kCount = (1 << 17) + 77;
  for (const bool sorted : {false, true}) {
    const Intervals all = random_intervals(edges, kCount, sorted, random);
    std::vector<double> joules(kCount), lower(kCount), upper(kCount);
    std::vector<std::uint32_t> flags(kCount);
    energies_between(edges, model, all.starts, all.ends, sorted, {joules, lower, upper, flags});
    std::size_t wrong = 0;
    for (std::size_t from = 0; from < kCount; from += 1001) {
      const std::size_t size = std::min<std::size_t>(1001, kCount - from);
      std::vector<double> part_joules(size), part_lower(size), part_upper(size);
      std::vector<std::uint32_t> part_flags(size);
      const auto part = [&](const auto& whole) { return std::span(whole).subspan(from, size); };
      energies_between(edges, model, part(all.starts), part(all.ends), sorted, {part_joules, part_lower, part_upper, part_flags});
      for (std::size_t i = 0; i < size; ++i) {
        wrong += !same(joules[from + i], part_joules[i]) || !same(lower[from + i], part_lower[i]) ||
                 !same(upper[from + i], part_upper[i]) || flags[from + i] != part_flags[i];
      }
    }
    CAPTURE(sorted);
    CHECK(wrong == 0);
  }
}

TEST_CASE("a pause as long as all edges together does not lead the index astray") {
  std::mt19937_64 random(3);
  auto edges = make_edges(1000, Steps::kUneven, 0, random);
  for (std::size_t i = 500; i < edges.size(); ++i) edges[i].t_ns += 3'600'000'000'000;
  auto crowded = edges;
  for (std::size_t i = 0; i < crowded.size(); ++i) {  // and most edges in a small part of the time
    crowded[i].t_ns = 1'000'000'000 + static_cast<std::int64_t>(i < 990 ? i * 1000 : 1'000'000 + i * 1'000'000'000);
    crowded[i].gap_ns = 100;
  }
  const EnergyModel model{.quantum_joules = kQuantum};
  CHECK(differing(edges, model, random_intervals(edges, 1000, false, random), false) == 0);
  CHECK(differing(edges, model, random_intervals(edges, 1000, true, random), true) == 0);
  CHECK(differing(crowded, model, random_intervals(crowded, 1000, false, random), false) == 0);
  CHECK(differing(crowded, model, random_intervals(crowded, 1000, true, random), true) == 0);
}

// The proof that the bounds deserve their name. A load with a known energy at every instant, a counter that shows it in whole
// quanta at its own moments, readings at others: whatever is asked, the truth lies within.
TEST_CASE("the truth lies within the bounds, for any load, jitter and lost edges") {
  constexpr std::int64_t kGrain = 10'000;  // the load changes its watts every 10 us
  constexpr double kPeak = 399.0;
  for (std::uint32_t seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    std::vector<double> truth{0.0};  // joules at each grain
    while (truth.size() < 20'000) {
      const double watts = random() % 3 == 0 ? 0.0 : static_cast<double>(random() % 400);
      for (std::uint64_t i = random() % 200; i > 0; --i) truth.push_back(truth.back() + watts * 1e-9 * kGrain);
    }
    const auto true_at = [&](std::int64_t t_ns) { return truth[static_cast<std::size_t>(t_ns / kGrain)]; };
    const auto end_ns = static_cast<std::int64_t>(truth.size() - 1) * kGrain;

    std::vector<Edge> edges;
    std::int64_t update_ns = 0;
    std::int64_t seen_ns = 0;  // when the old value was last seen
    const auto drops = static_cast<std::uint64_t>(seed % 4);
    while (true) {
      update_ns += (50 + static_cast<std::int64_t>(random() % 100)) * kGrain;
      const std::int64_t read_ns = update_ns + static_cast<std::int64_t>(random() % 40) * kGrain;
      if (read_ns >= end_ns) break;
      const double shown = std::floor(true_at(update_ns) / kQuantum) * kQuantum;
      const std::int64_t gap_ns = std::min(read_ns - seen_ns, read_ns - update_ns + kGrain);
      seen_ns = read_ns;
      if (random() % 4 < drops && !edges.empty()) continue;
      edges.push_back(edge(read_ns, shown, static_cast<std::uint32_t>(gap_ns)));
    }
    REQUIRE(edges.size() > 30);
    Intervals intervals;
    const auto first = (first_answerable_ns(edges) + kGrain - 1) / kGrain;
    const auto last = last_answerable_ns(edges) / kGrain;
    for (int i = 0; i < 2000; ++i) {
      const auto a = first + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(last - first + 1));
      const auto b = first + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(last - first + 1));
      intervals.starts.push_back(std::min(a, b) * kGrain);
      intervals.ends.push_back(std::max(a, b) * kGrain);
    }
    std::vector<double> joules(2000), lower(2000), upper(2000);
    for (const double max_watts : {0.0, kPeak, 1.1 * kPeak, 10.0 * kPeak}) {
      const EnergyModel model{.quantum_joules = kQuantum, .max_watts = max_watts};
      energies_between(edges, model, intervals.starts, intervals.ends, false, {joules, lower, upper});
      int violated = 0;
      int bounded = 0;
      for (std::size_t i = 0; i < joules.size(); ++i) {
        const double energy = true_at(intervals.ends[i]) - true_at(intervals.starts[i]);
        violated += energy < lower[i] - 1e-9 || energy > upper[i] + 1e-9;
        bounded += joules[i] >= lower[i] - 1e-9 && joules[i] <= upper[i] + 1e-9 && std::isfinite(upper[i]);
      }
      CAPTURE(seed);
      CAPTURE(max_watts);
      CHECK(violated == 0);
      CHECK(bounded == 2000);
    }
  }
}

TEST_CASE("the range of many intervals is found wherever the order breaks, and for any numbers") {
  std::vector<std::int64_t> ascending(10'000);
  std::iota(ascending.begin(), ascending.end(), 0);
  const IntervalsRange whole = intervals_range(ascending, ascending);
  CHECK(whole.sorted);
  CHECK(whole.first_ns == 0);
  CHECK(whole.last_ns == 9999);
  CHECK(intervals_range(std::vector<std::int64_t>{1, 2}, std::vector<std::int64_t>{0, 2}).backwards == 0);
  for (const std::size_t at : {1u, 4095u, 4096u, 4097u, 9998u, 9999u}) {
    CAPTURE(at);
    auto starts = ascending;
    starts[at] = -1;
    CHECK_FALSE(intervals_range(starts, ascending).sorted);
    CHECK(intervals_range(starts, ascending).first_ns == -1);
    CHECK(intervals_range(starts, ascending).backwards == -1);
    auto ends = ascending;
    ends[at] = static_cast<std::int64_t>(at) - 1;
    CHECK(intervals_range(ascending, ends).backwards == static_cast<std::ptrdiff_t>(at));
    starts = ascending;
    std::swap(starts[at], starts[at - 1]);
    CHECK_FALSE(intervals_range(starts, std::vector<std::int64_t>(10'000, 20'000)).sorted);
    ends = std::vector<std::int64_t>(10'000, 20'000);
    ends[at - 1] = 20'001;
    CHECK_FALSE(intervals_range(ascending, ends).sorted);
    CHECK(intervals_range(ascending, ends).last_ns == 20'001);
  }
  constexpr std::int64_t kLeast = std::numeric_limits<std::int64_t>::min();
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const std::vector<std::int64_t> extremes{kLeast, 0, kMost};
  CHECK(intervals_range(extremes, extremes).sorted);
  CHECK_FALSE(intervals_range(std::vector<std::int64_t>{1, kLeast}, std::vector<std::int64_t>{1, 2}).sorted);
  CHECK(intervals_range(std::vector<std::int64_t>{1, kMost}, std::vector<std::int64_t>{2, kLeast}).backwards == 1);
  CHECK(intervals_range({}, {}).backwards == -1);
}

TEST_CASE("the range of many intervals: earliest, latest, order, and the first that is backwards") {
  const std::vector<std::int64_t> starts{5, 1, 9};
  const std::vector<std::int64_t> ends{6, 3, 9};
  const IntervalsRange range = intervals_range(starts, ends);
  CHECK(range.first_ns == 1);
  CHECK(range.last_ns == 9);
  CHECK(range.backwards == -1);
  CHECK_FALSE(range.sorted);

  const std::vector<std::int64_t> ascending{1, 5, 5};
  CHECK(intervals_range(ascending, ends).backwards == 1);
  CHECK_FALSE(intervals_range(ascending, ends).sorted);
  const std::vector<std::int64_t> late{5, 5, 9};
  CHECK(intervals_range(ascending, late).sorted);
  CHECK(intervals_range(ascending, late).backwards == -1);
  CHECK_FALSE(intervals_range(late, std::vector<std::int64_t>{9, 8, 9}).sorted);
}

TEST_CASE("beyond the newest edge only the power limit bounds, and the estimate goes on as lately") {
  const std::vector<Edge> edges{edge(1'000'000, 0.0, 100'000), edge(2'000'000, 1.0, 100'000), edge(3'000'000, 2.0, 100'000)};
  EnergyModel model{.quantum_joules = 0.25};
  const Point open = point_beyond(edges, model, 3'500'000);
  CHECK(open.t_ns == 3'500'000);
  CHECK(open.lower == 2.0);
  CHECK(open.upper == kInfinity);
  CHECK(open.joules == doctest::Approx(2.0 + 0.55));  // 1 J a millisecond, since the middle of the last gap

  model.max_watts = 1500.0;
  const Point bounded = point_beyond(edges, model, 3'500'000);
  CHECK(bounded.upper == doctest::Approx(2.25 + 1500.0 * 600e-6));  // since the step may have come, and a quantum
  CHECK(bounded.joules == open.joules);
  model.max_watts = 100.0;
  CHECK(point_beyond(edges, model, 3'500'000).joules == doctest::Approx(2.25 + 0.06));  // no more than is possible

  // Within the gap of the last edge: it may not have stepped yet.
  const Point within = point_beyond(edges, model, 2'950'000);
  CHECK(within.lower == 1.0);
  CHECK(within.joules <= within.upper);

  // A reset: what was counted before it says nothing of after.
  const std::vector<Edge> reset{edge(1'000'000, 5.0, 0), edge(2'000'000, 5.0, 1'000'000, 1)};
  const Point after = point_beyond(reset, model, 1'500'000);
  CHECK(after.segment == 1);
  CHECK(after.lower == 5.0);
  const std::vector<Edge> single{edge(1'000'000, 0.0, 0)};
  CHECK(point_beyond(single, model, 2'000'000).joules == 0.0);
  CHECK(point_beyond(edges, model, 3'000'000).lower == 2.0);  // all of it was counted by then
}

TEST_CASE("beyond the newest edge the power of the last eight steps is taken to go on, as far as they are of one segment") {
  std::vector<Edge> edges{edge(0, 0.0, 0)};
  for (const double joules : {10.0, 10.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0}) {
    edges.push_back(edge(edges.back().t_ns + 1'000'000, edges.back().joules + joules, 0));
  }
  const double last = edges.back().joules;
  CHECK(point_beyond(edges, {}, edges.back().t_ns + 1'000'000).joules == doctest::Approx(last + 9.0 / 8.0));
  for (std::size_t i = 5; i < edges.size(); ++i) edges[i].segment = 1;
  CHECK(point_beyond(edges, {}, edges.back().t_ns + 1'000'000).joules == doctest::Approx(last + 1.0));
}

// 1 J a microsecond for a quarter of the time, then nothing: the counter steps each microsecond, the guide four times as often.
TEST_CASE("between two places a guide says how the power went, and the counter how much there was") {
  const std::vector<Edge> edges{edge(0, 0.0, 0), edge(1000, 10.0, 0), edge(2000, 20.0, 0), edge(3000, 30.0, 0)};
  const std::vector<Edge> guide{edge(0, 7.0, 0),    edge(1000, 8.0, 0),  edge(1250, 12.0, 0), edge(1500, 12.0, 0),
                                edge(1750, 12.0, 0), edge(2000, 12.0, 0), edge(2750, 12.0, 0), edge(3000, 13.0, 0)};
  const auto at = [&](std::int64_t t_ns) { return point_at(edges, {}, t_ns, guide).joules; };
  CHECK(at(500) == doctest::Approx(5.0));
  CHECK(at(1000) == doctest::Approx(10.0));
  CHECK(at(1125) == doctest::Approx(15.0));
  CHECK(at(1250) == doctest::Approx(20.0));
  CHECK(at(1999) == doctest::Approx(20.0));
  CHECK(at(2750) == doctest::Approx(20.0));
  CHECK(at(2875) == doctest::Approx(25.0));
  const Point straight = point_at(edges, {.quantum_joules = 1.0}, 1125);
  const Point guided = point_at(edges, {.quantum_joules = 1.0}, 1125, guide);
  CHECK(guided.lower == straight.lower);
  CHECK(guided.upper == straight.upper);
  CHECK(guided.flags == straight.flags);
  // Less than the guide says is possible: the bounds are the counter's.
  const EnergyModel slow{.max_watts = 20e6};  // 20 J a microsecond
  CHECK(point_at(edges, slow, 1125, guide).joules == doctest::Approx(10.0 + 20.0 * 0.125));
}

TEST_CASE("a guide stands in the middles of its gaps, like the counter") {
  const std::vector<Edge> edges{edge(1000, 0.0, 0), edge(2000, 10.0, 0), edge(3000, 20.0, 0)};
  const std::vector<Edge> guide{edge(1100, 0.0, 200), edge(1600, 9.0, 200), edge(2600, 10.0, 1200)};  // at 1000, 1500, 2100
  CHECK(point_at(edges, {}, 1500, guide).joules == doctest::Approx(10.0 * 9.0 / (9.0 + 500.0 / 600.0)));
  CHECK(point_at(edges, {}, 1250, guide).joules == doctest::Approx(10.0 * 4.5 / (9.0 + 500.0 / 600.0)));
  CHECK(guided_until_ns(guide) == 2000);
  const std::vector<Edge> late{edge(1100, 0.0, 200), edge(1200, 9.0, 5000), edge(2200, 10.0, 0)};  // at 1150 at the earliest
  CHECK(point_at(edges, {}, 1150, late).joules == doctest::Approx(10.0 * 9.0 / (9.0 + 850.0 / 1050.0)));
}

TEST_CASE("where the guide does not cover a step in one segment, or does not rise, the line is straight") {
  const std::vector<Edge> edges{edge(1000, 0.0, 0), edge(2000, 10.0, 0), edge(3000, 20.0, 0)};
  const auto at = [&](const std::vector<Edge>& guide) { return point_at(edges, {}, 1500, guide).joules; };
  CHECK(at({edge(1000, 0.0, 0), edge(1500, 1.0, 0), edge(2000, 4.0, 0)}) == doctest::Approx(2.5));
  CHECK(at({}) == 5.0);
  CHECK(at({edge(1500, 1.0, 0)}) == 5.0);
  CHECK(at({edge(1001, 0.0, 0), edge(1500, 1.0, 0), edge(2000, 4.0, 0)}) == 5.0);
  CHECK(at({edge(1000, 0.0, 0), edge(1500, 1.0, 0), edge(1999, 4.0, 0)}) == 5.0);
  CHECK(at({edge(1000, 3.0, 0), edge(1500, 3.0, 0), edge(2000, 3.0, 0)}) == 5.0);
  CHECK(at({edge(1000, 0.0, 0), edge(1500, 1.0, 0), edge(2000, 4.0, 0, 1)}) == 5.0);
  CHECK(at({edge(900, 0.0, 0), edge(1400, 1.0, 0, 1), edge(2000, 4.0, 0, 1)}) == 5.0);
  // A reset outside of the step does not matter.
  CHECK(at({edge(900, 0.0, 0), edge(1000, 0.0, 0, 1), edge(1500, 1.0, 0, 1), edge(2000, 4.0, 0, 1), edge(2001, 4.0, 0, 2)}) ==
        doctest::Approx(2.5));
}

TEST_CASE("with a guide: the same as the reference, sorted or not, for every size and kind of steps") {
  std::mt19937_64 random(7);
  for (const std::size_t size : {2u, 3u, 17u, 300u}) {
    for (const Steps steps : {Steps::kEven, Steps::kUneven, Steps::kPauses}) {
      for (const double max_watts : {0.0, 16.0}) {
        for (const unsigned resets : {0u, 30u}) {
          auto edges = make_edges(size, steps, resets, random);
          edges.back().gap_ns = 1000;
          auto guide = make_edges(4 * size, steps, resets, random);
          for (Edge& one : guide) one.t_ns = 1'000'000'000 + (one.t_ns - 1'000'000'000) / 4;
          for (const std::size_t count : {std::size_t{1}, size / 65 + 1, std::size_t{600}}) {
            for (const bool sorted : {false, true}) {
              CAPTURE(size);
              CAPTURE(static_cast<int>(steps));
              CAPTURE(max_watts);
              CAPTURE(resets);
              CAPTURE(count);
              CAPTURE(sorted);
              const EnergyModel model{.quantum_joules = kQuantum, .max_watts = max_watts};
              CHECK(differing(edges, model, random_intervals(edges, count, sorted, random), sorted, guide) == 0);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("with a guide the estimate never falls and has no jumps") {
  std::mt19937_64 random(8);
  const auto edges = make_edges(50, Steps::kUneven, 0, random);
  auto guide = make_edges(400, Steps::kUneven, 0, random);
  for (Edge& one : guide) one.t_ns = 1'000'000'000 + (one.t_ns - 1'000'000'000) / 8;
  double before = point_at(edges, {}, first_answerable_ns(edges), guide).joules;
  double largest = 0.0;
  for (std::int64_t t_ns = first_answerable_ns(edges); t_ns <= last_answerable_ns(edges); t_ns += 100) {
    const double joules = point_at(edges, {}, t_ns, guide).joules;
    largest = std::max(largest, joules - before);
    if (joules < before - 1e-12) FAIL_CHECK("falls at " << t_ns);
    before = joules;
  }
  CHECK(largest < 0.05 * 1000 * kQuantum);  // a twentieth of what a step of the counter can be
  CHECK(largest > 0.0);
}

TEST_CASE("under constant power a guide is the straight line") {
  std::mt19937_64 random(9);
  const auto edges = make_edges(100, Steps::kUneven, 0, random);
  std::vector<Edge> guide;
  for (std::int64_t t_ns = 900'000'000; t_ns < edges.back().t_ns + 2'000'000;) {
    guide.push_back(edge(t_ns, 1e-9 * 55.0 * static_cast<double>(t_ns), 0));
    t_ns += 100'000 + static_cast<std::int64_t>(random() % 99);
  }
  for (int i = 0; i < 1000; ++i) {
    const std::int64_t t_ns = random_instant(edges, random);
    CHECK(point_at(edges, {}, t_ns, guide).joules == doctest::Approx(point_at(edges, {}, t_ns).joules).epsilon(1e-6));
  }
}

TEST_CASE("bounds are wider by what the ends can have of their surroundings and a sensor can miss, and no wider than is possible") {
  const std::vector<Edge> edges{edge(0, 0.0, 0), edge(1'000'000, 5.0, 0), edge(2'000'000, 10.0, 0), edge(4'000'000, 20.0, 0)};
  EnergyModel model{.max_watts = 8'000.0, .spill_joules = 0.5, .blind_joules = 0.25, .period_ns = 250'000};
  const Point from = point_at(edges, model, 0);
  const Point to = point_at(edges, model, 2'000'000);
  const Energy bounded = energy_between(from, to, model);
  CHECK(bounded.joules == doctest::Approx(10.0));
  CHECK(bounded.lower == doctest::Approx(to.lower - from.upper - 1.0 - 0.25 * 3.0));  // 1 + 2 ms / 0.25 ms is 9
  CHECK(bounded.upper == doctest::Approx(to.upper - from.lower + 1.75));
  model.max_watts = 5'800.0;
  CHECK(energy_between(from, to, model).upper == doctest::Approx(11.6));
  model.max_watts = 8'000.0;
  model.spill_joules = 20.0;
  CHECK(energy_between(from, to, model).lower == 0.0);
  CHECK(energy_between(from, to, model).upper == doctest::Approx(16.0));
  model = {.spill_joules = 0.5};
  CHECK(energy_between(from, to, model).upper == doctest::Approx(to.upper - from.lower + 1.0));
  model = {.max_watts = 8'000.0, .blind_joules = 0.25};  // of a period that is not known
  CHECK(energy_between(from, to, model).upper == doctest::Approx(16.0));
  CHECK(energy_between(from, from, model).upper == 0.0);
}

TEST_CASE("widened bounds: the same as the reference, sorted or not") {
  std::mt19937_64 random(10);
  for (const double max_watts : {0.0, 16.0}) {
    for (const unsigned resets : {0u, 50u}) {
      const auto edges = make_edges(300, Steps::kUneven, resets, random);
      for (const double blind_joules : {0.0, 5e-4}) {
        const EnergyModel model{.quantum_joules = kQuantum,
                                .max_watts = max_watts,
                                .spill_joules = blind_joules > 0.0 ? 0.0 : 1e-3,
                                .blind_joules = blind_joules,
                                .period_ns = 3'000'000};
        for (const bool sorted : {false, true}) {
          for (const std::size_t count : {std::size_t{1}, std::size_t{600}}) {
            CAPTURE(max_watts);
            CAPTURE(resets);
            CAPTURE(blind_joules);
            CAPTURE(sorted);
            CAPTURE(count);
            CHECK(differing(edges, model, random_intervals(edges, count, sorted, random), sorted) == 0);
          }
        }
      }
    }
  }
}

TEST_CASE("edges that were seen later than what is settled answer nothing yet") {
  const std::vector<Edge> edges{edge(1000, 0.0, 0), edge(2000, 10.0, 300), edge(3000, 20.0, 400)};
  CHECK(known_until_ns(edges, INT64_MAX) == 2600);
  CHECK(known_until_ns(edges, 3000) == 2600);
  CHECK(known_until_ns(edges, 2999) == 1700);
  CHECK(known_until_ns(edges, 1999) < first_answerable_ns(edges));
  CHECK(known_until_ns(edges, INT64_MIN) < first_answerable_ns(edges));
  CHECK(known_until_ns(std::span(edges).first(1), INT64_MAX) < first_answerable_ns(edges));
  CHECK(known_until_ns({}, INT64_MAX) == INT64_MIN);
  CHECK(guided_until_ns({}) == INT64_MIN);
  CHECK(guided_until_ns(std::vector{edge(2600, 0.0, 1201)}) == 1999);  // its place, rounded down
}
