// SPDX-License-Identifier: MIT
#include "core/slow_pacer.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "simulation.hpp"

using namespace powerprobe;
using namespace powerprobe::test;

namespace {

constexpr std::int64_t kPause = kMilli;
constexpr std::int64_t kEnd = 20 * kSecond;
constexpr double kBudget = 0.07;

ChannelInfo board(std::int64_t expected_ns, Provenance provenance = Provenance::kMeasured) {
  ChannelInfo info = counter_of(expected_ns);
  info.provenance = provenance;
  info.least_pause_ns = kPause;
  return info;
}

// A board's counter, and its power reading if it is to be looked at as well.
struct Tracked {
  SlowPacer pacer;
  Simulation simulation;

  static std::vector<ChannelInfo> infos(std::int64_t reading_ns) {
    std::vector<ChannelInfo> infos{board(100 * kMilli)};
    if (reading_ns > 0) infos.push_back(board(reading_ns, Provenance::kIntegrated));
    return infos;
  }
  static std::vector<Steps> steps(Steps of_counter, std::int64_t reading_ns) {
    std::vector<Steps> steps{std::move(of_counter)};
    if (reading_ns > 0) steps.emplace_back();
    return steps;
  }

  explicit Tracked(Steps of_counter, double budget = kBudget, std::int64_t reading_ns = 0)
      : pacer(infos(reading_ns), budget), simulation(pacer, steps(std::move(of_counter), reading_ns)) {
    simulation.read_ns = 200'000;
    if (reading_ns > 0) simulation.counters[1].is_estimate = true;
    pacer.activate(kStart);
  }
  Tracked& run(std::int64_t from_ns = 3 * kSecond, std::int64_t end_ns = kEnd) {
    simulation.run(from_ns, from_ns);
    sleeps_before_ = simulation.sleeps;
    simulation.run(end_ns);
    return *this;
  }
  [[nodiscard]] double polls_per_step() const {
    return static_cast<double>(simulation.sleeps - sleeps_before_) / static_cast<double>(simulation.counters[0].passed);
  }
  // The gap that this share of the steps is seen within, in milliseconds.
  [[nodiscard]] double gap_ms(double share) const {
    std::vector<std::int64_t> gaps = simulation.counters[0].gap_ns;
    std::sort(gaps.begin(), gaps.end());
    return static_cast<double>(gaps[static_cast<std::size_t>(share * static_cast<double>(gaps.size() - 1))]) * 1e-6;
  }

 private:
  std::uint64_t sleeps_before_ = 0;
};

}  // namespace

TEST_CASE("steps of any known period are found, whatever was expected, within little more than a pause, for few polls") {
  for (const std::int64_t period_ns : {20 * kMilli, 50 * kMilli, 100 * kMilli, 106 * kMilli, 250 * kMilli}) {
    for (const std::int64_t jitter_ns : {std::int64_t{0}, 200 * kMicro, kMilli}) {
      CAPTURE(period_ns);
      CAPTURE(jitter_ns);
      Tracked tracked(grid(period_ns, jitter_ns, kEnd));
      tracked.run();
      CHECK(tracked.simulation.seen_share() == 1.0);
      CHECK(tracked.gap_ms(0.9) < 1.6);
      CHECK(tracked.polls_per_step() < 5.0);
      const PaceStats stats = tracked.pacer.stats(0);
      CHECK(stats.period_ns == doctest::Approx(static_cast<double>(period_ns)).epsilon(0.01));
      CHECK(stats.caught > 50);
      CHECK(stats.late * 10 < stats.caught);
      CHECK(stats.skipped == 0);
      CHECK(stats.guard_ns < 6 * kMilli);
      CHECK(stats.spread_ns <= jitter_ns + kMilli);
    }
  }
}

TEST_CASE("a counter that shakes a lot is looked at longer before, and still found") {
  Tracked tracked(grid(100 * kMilli, 8 * kMilli, kEnd));
  tracked.run();
  CHECK(tracked.gap_ms(0.9) < 1.6);
  CHECK(tracked.pacer.stats(0).guard_ns > 5 * kMilli);
}

TEST_CASE("no two polls are nearer than the pause, not even while nothing is known") {
  SlowPacer pacer(std::vector{board(100 * kMilli), board(20 * kMilli, Provenance::kIntegrated)}, kBudget);
  Simulation simulation(pacer, {grid(30 * kMilli, 5 * kMilli, kEnd), {}});
  simulation.counters[1].is_estimate = true;
  simulation.latency_ns = [] { return 0; };
  pacer.activate(kStart);
  std::int64_t last = 0;
  while (simulation.now < kSecond) {
    simulation.run(simulation.now + 1);
    if (simulation.now % 7 == 0) simulation.come_in_a_hurry();
    CHECK(simulation.due - (simulation.polled + simulation.read_ns) >= kPause);
    CHECK(simulation.polled >= last);
    last = simulation.polled;
  }
}

TEST_CASE("a power reading is looked at twice in its period, but not more often than every 20 ms, and any poll is a look") {
  Tracked alone(Steps{}, kBudget, 100 * kMilli);
  alone.run();
  const double looks = static_cast<double>(alone.simulation.counters[0].passed);
  CHECK(looks == 0.0);
  for (const auto& [period_ns, expected_ns] :
       {std::pair{100 * kMilli, 50 * kMilli}, {20 * kMilli, 20 * kMilli}, {300 * kMilli, 150 * kMilli}}) {
    SlowPacer pacer(std::vector{board(period_ns, Provenance::kIntegrated)}, kBudget);
    Simulation simulation(pacer, {Steps{}});
    simulation.counters[0].is_estimate = true;
    simulation.latency_ns = [] { return 0; };
    pacer.activate(kStart);
    simulation.run(kEnd);
    const double polls = static_cast<double>(kEnd - kStart) / static_cast<double>(expected_ns);
    CHECK(static_cast<double>(simulation.sleeps) == doctest::Approx(polls).epsilon(0.05));
  }
  Tracked both(grid(20 * kMilli, 0, kEnd), kBudget, 20 * kMilli);
  both.run();
  CHECK(both.polls_per_step() < 3.5);
}

TEST_CASE("a counter at rest is looked at rarely, and found again when it moves") {
  Steps resting = grid(100 * kMilli, 0, kEnd);
  std::erase_if(resting, [](std::int64_t t) { return t > 4 * kSecond && t < 10 * kSecond; });
  Tracked tracked(resting);
  tracked.simulation.run(6 * kSecond);
  const std::uint64_t before = tracked.simulation.sleeps;
  tracked.simulation.run(9 * kSecond);
  CHECK(tracked.simulation.sleeps - before < 70);
  CHECK(tracked.simulation.sleeps - before > 50);
  tracked.run(11 * kSecond);
  CHECK(tracked.gap_ms(0.9) < 1.6);
}

TEST_CASE("a counter whose period changes is learned anew") {
  Steps steps = grid(100 * kMilli, 0, 8 * kSecond);
  std::erase_if(steps, [](std::int64_t t) { return t > 8 * kSecond; });
  for (const std::int64_t t : grid(37 * kMilli, 0, kEnd, 8 * kSecond)) steps.push_back(t);
  Tracked tracked(steps);
  tracked.run(12 * kSecond);
  CHECK(tracked.gap_ms(0.8) < 1.6);
  CHECK(tracked.pacer.stats(0).period_ns == doctest::Approx(37e6).epsilon(0.01));
}

TEST_CASE("what the budget does not allow is let pass, and what is waited for is found") {
  Tracked tracked(grid(20 * kMilli, 0, kEnd), 0.014);
  tracked.run();
  CHECK(tracked.simulation.cpu_share() < 0.018);
  const PaceStats stats = tracked.pacer.stats(0);
  CHECK(stats.caught > 100);
  CHECK(stats.skipped > 100);
  CHECK(stats.late < stats.caught / 4);
  CHECK(tracked.gap_ms(0.2) < 1.6);
}

TEST_CASE("who is in a hurry does not wait for the budget") {
  Tracked tracked(grid(20 * kMilli, 0, kEnd + 2 * kSecond), 0.014);
  tracked.run();
  tracked.simulation.hurry = true;
  const std::uint64_t before = tracked.pacer.stats(0).skipped;
  tracked.simulation.begin_count();
  tracked.simulation.run(kEnd + kSecond);
  CHECK(tracked.pacer.stats(0).skipped == before);
  CHECK(tracked.gap_ms(0.9) < 1.6);
}

TEST_CASE("where the device stamps its updates one look after each is enough") {
  SlowPacer pacer(std::vector{board(100 * kMilli)}, kBudget);
  Simulation simulation(pacer, {grid(100 * kMilli, kMilli, kEnd)});
  simulation.counters[0].is_stamped = true;
  simulation.counters[0].blurred_ns = -1'200;  // to the nanosecond
  simulation.read_ns = 200'000;
  pacer.activate(kStart);
  simulation.run(3 * kSecond, 3 * kSecond);
  const std::uint64_t before = simulation.sleeps;
  simulation.run(kEnd);
  const auto steps = static_cast<double>(simulation.counters[0].passed);
  CHECK(static_cast<double>(simulation.sleeps - before) / steps < 1.3);
  CHECK(simulation.seen_share() > 0.99);
}

TEST_CASE("after a pause in which nobody asked the period is still known, and where the counter is is looked for") {
  Tracked tracked(grid(100 * kMilli, 0, kEnd));
  tracked.run(3 * kSecond, 5 * kSecond);
  tracked.simulation.now += 3 * kSecond + 37 * kMilli;
  tracked.pacer.activate(tracked.simulation.now);
  const std::int64_t asked_ns = tracked.simulation.now;
  tracked.simulation.run(asked_ns + 350 * kMilli);
  tracked.run(asked_ns + 350 * kMilli);
  CHECK(tracked.gap_ms(0.95) < 1.6);
}

TEST_CASE("after a short pause the counter is where it was expected, and the first step is found as well as any") {
  for (const std::int64_t pause_ns : {300 * kMilli, 1'500 * kMilli}) {
    Tracked tracked(grid(100 * kMilli, 0, kEnd));
    tracked.run(3 * kSecond, 8 * kSecond);
    tracked.simulation.now += pause_ns;
    tracked.pacer.activate(tracked.simulation.now);
    const std::int64_t asked_ns = tracked.simulation.now;
    const std::size_t before = tracked.simulation.counters[0].gap_ns.size();
    tracked.simulation.run(asked_ns + 220 * kMilli);
    const auto& gaps = tracked.simulation.counters[0].gap_ns;
    REQUIRE(gaps.size() > before + 1);
    CHECK(gaps[before] > 10 * kMilli);  // it had moved in the pause
    CHECK(gaps[before + 1] < 1'600 * kMicro);
  }
}

TEST_CASE("a counter that ended is not waited for") {
  SlowPacer pacer(std::vector{board(100 * kMilli), board(100 * kMilli)}, kBudget);
  Simulation simulation(pacer, {grid(100 * kMilli, 0, kEnd), grid(30 * kMilli, 0, kEnd)});
  simulation.counters[1].ends_ns = 3 * kSecond;
  simulation.read_ns = 200'000;
  pacer.activate(kStart);
  simulation.run(5 * kSecond, 5 * kSecond);
  const std::uint64_t before = simulation.sleeps;
  simulation.run(kEnd);
  CHECK(static_cast<double>(simulation.sleeps - before) / static_cast<double>(simulation.counters[0].passed) < 4.0);
}
