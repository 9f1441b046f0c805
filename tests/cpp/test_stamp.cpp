// SPDX-License-Identifier: MIT
#include "core/stamp.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <random>

using namespace powerprobe;

namespace {

// A device clock with an epoch, a frequency error and a modulus of its own, and the truth about it.
struct Device {
  double tick_ns;
  std::uint64_t modulus;
  double epoch_ns;
  double drift = 0.0;  // relative; the device's seconds against ours

  [[nodiscard]] std::uint64_t stamp_at(std::int64_t t_ns) const {
    const double own = (static_cast<double>(t_ns) + epoch_ns) * (1.0 + drift);
    return static_cast<std::uint64_t>(std::floor(own / tick_ns)) % modulus;
  }
};

struct Outcome {
  int steps = 0;
  int outside = 0;           // located where the update was not
  int worse = 0;             // gap wider than what the readings alone say
  double late_gap_ns = 0.0;  // mean of the second half
};

// Updates about every millisecond, found by readings of uneven distance and delay.
Outcome play(const Device& device, int steps, std::uint32_t seed) {
  StampMap map(device.tick_ns, device.modulus);
  std::mt19937_64 random(seed);
  Outcome outcome;
  std::int64_t update_ns = 5'000'000'000;
  for (int i = 0; i < steps; ++i) {
    update_ns += 500'000 + static_cast<std::int64_t>(random() % 1'000'000);
    const std::int64_t after_ns = update_ns - 1 - static_cast<std::int64_t>(random() % 200'000);
    const std::int64_t before_ns = update_ns + static_cast<std::int64_t>(random() % 200'000);
    const StampMap::Located located = map.locate(device.stamp_at(update_ns), after_ns, before_ns);
    ++outcome.steps;
    outcome.outside += update_ns > located.t_ns || update_ns <= located.t_ns - located.gap_ns - 1;
    outcome.worse += located.gap_ns > before_ns - after_ns;
    if (2 * i >= steps) outcome.late_gap_ns += static_cast<double>(located.gap_ns) / (steps - steps / 2);
  }
  return outcome;
}

}  // namespace

TEST_CASE("the update lies where it is located, and never wider than the readings say") {
  constexpr std::uint64_t kNoWrap = std::uint64_t{1} << 62;
  for (const double drift : {0.0, 100e-6, -100e-6, 500e-6, -500e-6}) {
    for (const std::uint32_t seed : {1u, 2u, 3u}) {
      CAPTURE(drift);
      CAPTURE(seed);
      const Outcome outcome = play({10.0, kNoWrap, 123'456'789.0, drift}, 2000, seed);
      CHECK(outcome.steps == 2000);
      CHECK(outcome.outside == 0);
      CHECK(outcome.worse == 0);
    }
  }
}

TEST_CASE("every step sharpens the map: after many the gap is a small part of what a reading says") {
  const Outcome outcome = play({10.0, std::uint64_t{1} << 62, 0.0}, 2000, 1);
  CHECK(outcome.outside == 0);
  CHECK(outcome.late_gap_ns < 50'000);  // single readings here say 200 us on average
}

TEST_CASE("the stamp may wrap") {
  // 2^20 ticks of 10 ns are 10 ms: a wrap about every tenth update.
  const Outcome outcome = play({10.0, std::uint64_t{1} << 20, 777.0}, 2000, 4);
  CHECK(outcome.outside == 0);
  CHECK(outcome.late_gap_ns < 50'000);
}

TEST_CASE("a coarse tick widens the answer by what it cuts off") {
  const Outcome outcome = play({100'000.0, std::uint64_t{1} << 40, 33.0}, 2000, 5);
  CHECK(outcome.outside == 0);
  CHECK(outcome.late_gap_ns >= 50'000);
}

TEST_CASE("the first stamp says no more than the readings around it") {
  StampMap map(10.0, 1u << 20);
  const StampMap::Located located = map.locate(5, 1'000'000, 1'300'000);
  CHECK(located.t_ns == 1'300'000);
  CHECK(located.gap_ns == 300'000);
}

TEST_CASE("a clock that was set starts the map again instead of contradicting the readings") {
  StampMap map(10.0, std::uint64_t{1} << 40);
  map.locate(1'000'000, 1'000'000, 1'300'000);
  map.locate(1'100'000, 2'000'000, 2'300'000);
  const StampMap::Located located = map.locate(900'000'000, 3'000'000, 3'300'000);
  CHECK(located.t_ns == 3'300'000);
  CHECK(located.gap_ns == 300'000);
  // And from there it is as sharp as ever: 10 ticks of 10 ns after an update in (3000, 3300] us.
  const StampMap::Located next = map.locate(900'000'010, 3'000'100, 3'200'000);
  CHECK(next.t_ns == 3'200'000);
}

TEST_CASE("the clocks may drift from one update to the next, however late the reading of the first came") {
  // The first update at 1 s was read 1 s later, the second at 2 s almost at once; meanwhile the device gained 500 us.
  StampMap map(10.0, std::uint64_t{1} << 40);
  map.locate(100'000'000, 999'999'990, 2'000'000'000);
  const StampMap::Located located = map.locate(100'000'000 + 100'050'000, 1'999'000'000, 2'000'600'000);
  CHECK(located.t_ns - located.gap_ns < 2'000'000'001);
  CHECK(located.t_ns >= 2'000'000'001);
}

TEST_CASE("two updates within one tick bear the same stamp") {
  StampMap map(100'000.0, std::uint64_t{1} << 40);
  map.locate(10, 1'000'000, 1'000'100);
  const StampMap::Located located = map.locate(10, 1'000'100, 1'900'000);
  CHECK(located.t_ns < 1'102'000);  // a tick after the first and what the clocks may have drifted, not where the reading ended
  CHECK(located.t_ns > 1'100'100);
}

TEST_CASE("the clocks may drift as long as the old value was not seen any more") {
  // Both updates, at 1 s and at 2 s, were read at once, but before the second nobody looked for a second; the device lost 500 us.
  StampMap map(10.0, std::uint64_t{1} << 40);
  map.locate(100'000'000, 999'999'990, 1'000'000'010);
  const StampMap::Located located = map.locate(100'000'000 + 99'950'000, 1'000'000'020, 2'000'000'010);
  CHECK(located.t_ns >= 2'000'000'000);
  CHECK(located.t_ns - located.gap_ns < 2'000'000'000);
}

TEST_CASE("a clock that stood still starts the map again as well") {
  StampMap map(10.0, std::uint64_t{1} << 40);
  map.locate(1'000'000, 1'000'000, 1'300'000);
  const StampMap::Located located = map.locate(1'000'001, 9'000'000, 9'300'000);
  CHECK(located.t_ns == 9'300'000);
  CHECK(located.gap_ns == 300'000);
}
