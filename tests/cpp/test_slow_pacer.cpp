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

// What is decided after each single poll. Polls here take no time.
namespace {

struct Hand {
  SlowPacer pacer;
  std::vector<Sight> sights;

  explicit Hand(const std::vector<ChannelInfo>& channels = {board(100 * kMilli)}, double budget = 0.1)
      : pacer(channels, budget), sights(channels.size()) {}

  // A poll in which the first counter was seen to have stepped, or not (gap_ns 0). Returns when the next is due.
  std::int64_t poll(std::int64_t t_ns, std::int64_t gap_ns = 0, std::int64_t cpu_ns = 0) {
    sights[0] = gap_ns > 0 ? Sight{.stepped = true, .t_ns = t_ns, .gap_ns = gap_ns} : Sight{};
    return plan(t_ns, cpu_ns);
  }
  std::int64_t plan(std::int64_t t_ns, std::int64_t cpu_ns = 0) {
    CHECK(pacer.polled(t_ns, t_ns, sights) == Pacing::kPlan);
    return pacer.plan(t_ns, cpu_ns, false);
  }
  // Steps every 100 ms that are seen within a millisecond each, the last one at last_ns.
  std::int64_t learn(std::int64_t last_ns = kSecond, int steps = 2, std::int64_t cpu_ns = 0) {
    pacer.activate(last_ns - (steps - 1) * 100 * kMilli);
    std::int64_t due_ns = 0;
    for (int i = steps - 1; i >= 0; --i) due_ns = poll(last_ns - i * 100 * kMilli, kMilli, cpu_ns);
    return due_ns;
  }
  [[nodiscard]] PaceStats stats() const { return pacer.stats(0); }
};

constexpr std::int64_t kHalf = kMilli / 2;
// How long before an expected step a counter is looked at that was just found: as long as the search can have missed it by.
constexpr std::int64_t kFirstReach = 5 * kMilli + kPause / 2;

}  // namespace

TEST_CASE("a step is tight within two pauses and two polls, of which one that is held up says little") {
  ChannelInfo slower = board(100 * kMilli);
  slower.least_pause_ns = 3 * kMilli;
  SlowPacer pacer(std::vector{slower, board(100 * kMilli)}, kBudget);
  CHECK(pacer.is_in_step());
  CHECK(pacer.tight_ns() == 6 * kMilli);
  const std::vector<Sight> sights(2);
  (void)pacer.polled(kSecond, kSecond + 160 * kMicro, sights);
  CHECK(pacer.tight_ns() == 6 * kMilli + 2 * 160 * kMicro);
  (void)pacer.polled(2 * kSecond, 2 * kSecond + kSecond, sights);  // counts as four times as long as usual, of sixteen polls
  CHECK(pacer.tight_ns() == 6 * kMilli + 2 * 190 * kMicro);
}

TEST_CASE("a period is learned of two steps, and the third is looked for where it is expected") {
  Hand hand;
  hand.pacer.activate(900 * kMilli);
  CHECK(hand.poll(900 * kMilli, kMilli) == 905 * kMilli);
  CHECK(hand.stats().period_ns == 0);
  CHECK(hand.poll(905 * kMilli) == 910 * kMilli);
  CHECK(hand.poll(kSecond, kMilli) == 1'100 * kMilli - kHalf - kFirstReach);
  CHECK(hand.stats().period_ns == 100 * kMilli);
  CHECK(hand.stats().guard_ns == kFirstReach);
  CHECK(hand.stats().caught == 0);  // these two were found, not waited for
  CHECK(hand.poll(1'100 * kMilli, kMilli) == 1'200 * kMilli - kHalf - kFirstReach);
  CHECK(hand.stats().caught == 1);
  CHECK(hand.poll(1'200 * kMilli, 10 * kMilli) > 0);  // somewhere near, but not tight
  CHECK(hand.stats().caught == 1);
  CHECK(hand.stats().late == 1);
  CHECK(hand.stats().spread_ns > 0);
}

TEST_CASE("before anything is known a step that was missed is none that came late") {
  Hand hand;
  hand.pacer.activate(kSecond);
  hand.poll(kSecond, 60 * kMilli);
  hand.poll(1'100 * kMilli, 60 * kMilli);
  CHECK(hand.stats().late == 0);
  CHECK(hand.stats().caught == 0);
}

TEST_CASE("when it does not come where it is expected it is looked for, but no more as often as there") {
  Hand hand;
  const std::int64_t expected_ns = kSecond - kHalf + 100 * kMilli;
  CHECK(hand.learn() == expected_ns - kFirstReach);
  CHECK(hand.poll(expected_ns - kFirstReach) == expected_ns - kFirstReach + kPause);
  CHECK(hand.poll(expected_ns + 50 * kMilli) == expected_ns + 51 * kMilli);
  CHECK(hand.poll(expected_ns + 50 * kMilli + 1) == expected_ns + 55 * kMilli + 1);
}

TEST_CASE("a step that came late is looked for earlier the next time, up to half a period") {
  Hand hand;
  hand.learn();
  std::int64_t t_ns = kSecond;
  std::int64_t reach_ns = kFirstReach;
  for (std::uint64_t late = 1; late <= 5; ++late) {
    hand.poll(t_ns + 150 * kMilli, 60 * kMilli);
    CHECK(hand.stats().late == late);
    reach_ns = std::min(2 * reach_ns, 50 * kMilli) + kPause / 2;
    CHECK(hand.stats().guard_ns == reach_ns);
    // For each of them two that come as expected: so it is still known where it is.
    for (int i = 2; i <= 3; ++i) hand.poll(t_ns + i * 100 * kMilli, kMilli);
    t_ns += 300 * kMilli;
    CHECK(hand.stats().period_ns == 100 * kMilli);
  }
}

TEST_CASE("after four in a row that came late it is searched for, and what was needed before is forgotten") {
  Hand hand;
  hand.learn();
  for (int i = 1; i <= 4; ++i) {
    CHECK(hand.stats().period_ns == 100 * kMilli);
    hand.poll(kSecond + i * 100 * kMilli + 50 * kMilli, 60 * kMilli);
  }
  CHECK(hand.stats().period_ns == 0);
  CHECK(hand.stats().guard_ns > 20 * kMilli);
  hand.learn(2 * kSecond);
  CHECK(hand.stats().period_ns == 100 * kMilli);
  CHECK(hand.stats().guard_ns == kFirstReach);
  hand.poll(2'150 * kMilli, 60 * kMilli);  // one more that came late is only one again
  CHECK(hand.stats().period_ns == 100 * kMilli);
}

TEST_CASE("a step is tight for a short period as well when a pause is no shorter") {
  ChannelInfo info = board(20 * kMilli);
  info.least_pause_ns = 2 * kMilli;
  Hand hand({info});
  hand.pacer.activate(kSecond);
  for (int i = 0; i < 3; ++i) hand.poll(kSecond + i * 20 * kMilli, 4 * kMilli);
  CHECK(hand.stats().caught == 1);
  CHECK(hand.stats().late == 0);
}

TEST_CASE("where it is stays known for two seconds, and then is searched for at once") {
  for (const auto& [pause_ns, is_known] : {std::pair{1'900 * kMilli, true}, {2'100 * kMilli, false}}) {
    Hand hand;
    hand.learn(kSecond, 5);
    const std::int64_t again_ns = kSecond + pause_ns;
    hand.pacer.activate(again_ns);
    const std::int64_t due_ns = hand.poll(again_ns, pause_ns);  // it had moved
    CHECK((due_ns == again_ns + 5 * kMilli) == !is_known);
    CHECK(hand.stats().period_ns == 100 * kMilli);
    hand.poll(again_ns + 163 * kMilli, kMilli);  // found, earlier than where it was
    CHECK((hand.stats().guard_ns == kFirstReach) == !is_known);
  }
  Hand lost;
  lost.learn(kSecond, 5);
  lost.pacer.activate(4 * kSecond);
  CHECK(lost.poll(4 * kSecond, 60 * kMilli) == 4 * kSecond + 5 * kMilli);  // also when it just moved
}

TEST_CASE("what was not looked at in between does not count as one period") {
  Hand hand;
  hand.learn(kSecond, 3);
  hand.pacer.activate(1'800 * kMilli);
  hand.poll(1'850 * kMilli);
  hand.poll(1'900 * kMilli, kMilli);
  CHECK(hand.stats().period_ns == 100 * kMilli);
}

TEST_CASE("who begins to ask after a long time does not find a counter at rest") {
  Hand hand;
  hand.pacer.activate(10 * kSecond);
  CHECK(hand.poll(10 * kSecond) == 10 * kSecond + 5 * kMilli);
  CHECK(hand.poll(11 * kSecond) == 11 * kSecond + 5 * kMilli);
  CHECK(hand.poll(11 * kSecond + 1) == 11 * kSecond + 1 + 50 * kMilli);
}

TEST_CASE("what is not used can be saved up for a second and overdrawn by one, and who is in a hurry does not ask for it") {
  const std::int64_t start_ns = 10 * kSecond;
  Hand saved;
  saved.pacer.activate(start_ns);
  CHECK(saved.poll(start_ns, 0, 150 * kMilli) == start_ns + 500 * kMilli);  // a tenth may be used: 1500 ms, less the second
  CHECK(saved.pacer.hurry(start_ns) == start_ns + 5 * kMilli);
  Hand overdrawn;
  overdrawn.pacer.activate(start_ns);
  CHECK(overdrawn.poll(start_ns, 0, 10 * kSecond) == start_ns + kSecond);
  CHECK(overdrawn.poll(start_ns + kSecond / 2, 0, 10 * kSecond) == start_ns + kSecond);
  Hand resting;
  resting.pacer.activate(start_ns - 2 * kSecond);
  CHECK(resting.poll(start_ns, 0, 10 * kSecond) == start_ns + kSecond);
}

TEST_CASE("a step that is not paid for is let pass once, and its being seen late is not held against anybody") {
  Hand hand({board(100 * kMilli), board(100 * kMilli, Provenance::kIntegrated)});
  hand.learn();
  hand.poll(1'001 * kMilli, 0, 113 * kMilli);  // overdrawn by 130 ms
  CHECK(hand.stats().skipped == 1);
  hand.poll(1'050 * kMilli, 0, 113 * kMilli);
  hand.poll(1'080 * kMilli, 0, 113 * kMilli);
  CHECK(hand.stats().skipped == 1);
  CHECK(hand.poll(1'150 * kMilli, 70 * kMilli, 113 * kMilli) == 1'200 * kMilli - kHalf - kFirstReach);
  CHECK(hand.stats().late == 0);
  CHECK(hand.stats().guard_ns == kFirstReach);
}

TEST_CASE("who is in a hurry when the look is due already lets nothing pass") {
  Hand hand;
  const std::int64_t due_ns = hand.learn();
  CHECK(hand.pacer.hurry(due_ns + 2 * kMilli) <= due_ns + 2 * kMilli);
  CHECK(hand.stats().skipped == 0);
}

TEST_CASE("only a stamp that says more than the polls did makes one look after the step do") {
  struct Case {
    std::int64_t t_ns, gap_ns;
    bool is_stamped;
  };
  // The poll at 1000 ms, after one at 990 ms, saw a step that came by t_ns.
  for (const Case& each : {Case{kSecond - 4 * kMilli, kMilli, true},             // well within the two polls
                           Case{kSecond - 4 * kMilli, 7 * kMilli, false},        // not known to have come after the first
                           Case{kSecond - kMilli / 4, kMilli / 2, false}}) {     // as the poll saw it
    CAPTURE(each.t_ns);
    CAPTURE(each.gap_ns);
    Hand hand;
    hand.pacer.activate(900 * kMilli);
    hand.sights[0] = {.stepped = true, .t_ns = each.t_ns - 100 * kMilli, .gap_ns = each.gap_ns};
    hand.plan(900 * kMilli);
    hand.poll(990 * kMilli);
    hand.sights[0] = {.stepped = true, .t_ns = each.t_ns, .gap_ns = each.gap_ns};
    const std::int64_t due_ns = hand.plan(kSecond);
    const std::int64_t place_ns = each.t_ns - each.gap_ns / 2 + 100 * kMilli;
    CHECK(due_ns == (each.is_stamped ? place_ns + kPause : place_ns - kFirstReach));
  }
}

TEST_CASE("the next poll is that of the channel that wants it first, no sooner than the longest pause, of those that have not ended") {
  const std::int64_t start_ns = kSecond;
  Hand both({board(100 * kMilli), board(0, Provenance::kIntegrated)});
  both.pacer.activate(start_ns);
  CHECK(both.poll(start_ns) == start_ns + 5 * kMilli);
  both.sights[0].ended = true;
  CHECK(both.plan(start_ns + 5 * kMilli) == start_ns + 55 * kMilli);  // half of the longest period that is known
  both.sights[0].ended = false;
  CHECK(both.plan(start_ns + 55 * kMilli) == start_ns + 105 * kMilli);
  both.sights[1].ended = true;
  CHECK(both.plan(start_ns + 105 * kMilli) == start_ns + 1'105 * kMilli);
  ChannelInfo patient = board(100 * kMilli);
  patient.least_pause_ns = 10 * kMilli;
  Hand rarely({patient});
  rarely.pacer.activate(start_ns);
  CHECK(rarely.poll(start_ns) == start_ns + 10 * kMilli);
}

TEST_CASE("a power reading has no steps to be waited for, whatever is seen of it") {
  Hand hand({board(100 * kMilli, Provenance::kIntegrated)});
  hand.pacer.activate(kSecond);
  for (int i = 0; i < 10; ++i) CHECK(hand.poll(kSecond + i * 5 * kMilli, 5 * kMilli) == kSecond + i * 5 * kMilli + 50 * kMilli);
  CHECK(hand.stats().caught == 0);
}
