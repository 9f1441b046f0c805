// SPDX-License-Identifier: MIT
#include "sources/nvml_stamp.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <random>
#include <utility>

using namespace powerprobe;

namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kUs = 1'000;
constexpr std::int64_t kAheadNs = 1'700'000'000'000'000'000;

// A counter that moves every 20 ms, looked at every few milliseconds by a driver that stamps as `stamp` says.
struct Driver {
  // From the time of the last update and that of the reading to a time on CLOCK_MONOTONIC.
  std::function<std::int64_t(std::int64_t update_ns, std::int64_t read_ns)> stamp;
  std::int64_t period_ns = 20 * kMs;
  std::int64_t latency_us = 5;
  std::mt19937_64 random{3};
  std::int64_t now_ns = 1'000 * kMs;
  WallClock wall{};
  StampTrust trust{};
  std::int64_t ahead_ns = kAheadNs;
  std::int64_t stamp_ahead_ns = kAheadNs;  // of the clock as it was when the stamp was made
  std::int64_t stamped_ns = -1;
  std::int64_t last_before_ns = 0;
  std::int64_t stamp_us = 0;

  struct Seen {
    StampTrust::Step step;
    std::int64_t update_ns;
    std::int64_t after_ns;
    std::int64_t last_before_ns;  // when the look before began
  };

  Seen look(std::int64_t pause_ns) {
    now_ns += pause_ns;
    wall.set(ahead_ns, 50);
    const std::int64_t before_ns = now_ns;
    const std::int64_t last = std::exchange(last_before_ns, before_ns);
    now_ns += static_cast<std::int64_t>(10 * kUs + static_cast<std::int64_t>(random() % 50'000));
    const std::int64_t read_ns = before_ns + (now_ns - before_ns) / 2;
    // Updates do not fall on round numbers.
    const std::int64_t offset_ns = 7'123'456;
    const std::int64_t update_ns = (read_ns - offset_ns) / period_ns * period_ns + offset_ns;
    // A stamp that was made is not made again when the clock is set.
    const std::int64_t stamp_ns = stamp(update_ns, read_ns);
    if (std::exchange(stamped_ns, stamp_ns) != stamp_ns) stamp_us = (stamp_ns + stamp_ahead_ns) / 1000;
    const auto value = static_cast<std::uint64_t>(update_ns / period_ns);
    return {trust.look({value, stamp_us, latency_us, before_ns, now_ns}, wall), update_ns, now_ns, last};
  }
  // How many looks of so many brought a time.
  int placed(int looks, std::int64_t pause_ns = 4 * kMs) {
    int count = 0;
    for (int i = 0; i < looks; ++i) count += look(pause_ns).step.at_ns != 0 ? 1 : 0;
    return count;
  }
};

std::int64_t of_update(std::int64_t update_ns, std::int64_t) { return update_ns; }
std::int64_t of_reading(std::int64_t, std::int64_t read_ns) { return read_ns; }

}  // namespace

TEST_CASE("stamps of updates are believed after eight of them, and then say when") {
  Driver driver{of_update};
  int placed = 0;
  std::int64_t last_at_ns = 0;
  std::int64_t last_update_ns = 0;
  int changes = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto seen = driver.look(4 * kMs);
    if (seen.update_ns != last_update_ns && last_update_ns != 0) ++changes;
    last_update_ns = seen.update_ns;
    if (seen.step.at_ns == 0) continue;
    // The first change of all was not seen to come from a value at rest.
    if (++placed == 1) CHECK(changes == 9);
    CHECK(seen.step.at_ns - seen.step.gap_ns < seen.update_ns);
    CHECK(seen.update_ns <= seen.step.at_ns);
    CHECK(seen.step.at_ns <= seen.after_ns);
    CHECK(seen.step.at_ns > last_at_ns);
    CHECK(seen.step.gap_ns <= 7 * kUs);
    last_at_ns = seen.step.at_ns;
  }
  CHECK(changes > 150);
  CHECK(placed >= changes - 9);
  CHECK(driver.trust.is_trusted());
}

TEST_CASE("a longer latency of the library is a wider gap") {
  Driver driver{of_update};
  driver.latency_us = 500;
  for (int i = 0; i < 200; ++i) {
    const auto seen = driver.look(4 * kMs);
    if (seen.step.at_ns != 0 && seen.after_ns - seen.update_ns < 3 * kMs) CHECK(seen.step.gap_ns > 400 * kUs);
  }
  CHECK(driver.trust.is_trusted());
}

TEST_CASE("whatever the latency, the step came after the last look at the old value") {
  Driver driver{of_update};
  driver.latency_us = 100'000;
  int placed = 0;
  for (int i = 0; i < 200; ++i) {
    const auto seen = driver.look(4 * kMs);
    if (seen.step.at_ns == 0) continue;
    ++placed;
    CHECK(seen.step.at_ns - seen.step.gap_ns >= seen.last_before_ns);
  }
  CHECK(placed > 20);
}

TEST_CASE("stamps of readings are never believed, however often one looks") {
  for (const std::int64_t pause_ns : {1 * kMs, 4 * kMs, 15 * kMs, 20 * kMs, 100 * kMs}) {
    CAPTURE(pause_ns);
    Driver driver{of_reading};
    CHECK(driver.placed(1000, pause_ns) == 0);
  }
}

TEST_CASE("stamps of readings that a driver repeats for two milliseconds are not believed either") {
  Driver driver{[](std::int64_t, std::int64_t read_ns) { return read_ns / (2 * kMs) * (2 * kMs); }};
  CHECK(driver.placed(2000, kMs / 2) == 0);
}

TEST_CASE("stamps that do not move, or are elsewhere, are not believed") {
  Driver zero{[](std::int64_t, std::int64_t) { return std::int64_t{0}; }};
  CHECK(zero.placed(500) == 0);
  Driver early{[](std::int64_t update_ns, std::int64_t) { return update_ns - 130 * kMs; }};
  CHECK(early.placed(500) == 0);
  Driver late{[](std::int64_t update_ns, std::int64_t) { return update_ns + 130 * kMs; }};
  CHECK(late.placed(500) == 0);
}

TEST_CASE("answers that a driver repeats for two milliseconds, value and stamp of their reading, are not believed") {
  StampTrust trust;
  WallClock wall;
  wall.set(0, 50);
  for (std::int64_t t = 1'000 * kMs; t < 3'000 * kMs; t += kMs / 2) {
    // The counter moves each millisecond; the driver read it when its answer was made.
    const std::int64_t answered_ns = t / (2 * kMs) * (2 * kMs);
    const auto value = static_cast<std::uint64_t>(answered_ns / kMs);
    CHECK(trust.look({value, answered_ns / 1000, 5, t, t + 20 * kUs}, wall).at_ns == 0);
  }
}

TEST_CASE("a value that moves while its stamp stays ends the trust") {
  StampTrust trust;
  WallClock wall;
  wall.set(0, 50);
  std::int64_t t = 1'000 * kMs;
  std::uint64_t value = 1;
  const auto look = [&](std::int64_t stamp_ns, std::int64_t at_ns) {
    return trust.look({value, stamp_ns / 1000, 5, at_ns, at_ns + 20 * kUs}, wall);
  };
  for (int i = 0; i < 20; ++i, ++value, t += 20 * kMs) {
    (void)look(t, t + 100 * kUs);
    (void)look(t, t + 10 * kMs);
  }
  REQUIRE(trust.is_trusted());
  (void)look(t, t + 100 * kUs);
  ++value;
  (void)look(t, t + 400 * kUs);
  CHECK_FALSE(trust.is_trusted());
}

TEST_CASE("one contradiction ends the trust for good") {
  bool lies = false;
  Driver driver{[&](std::int64_t update_ns, std::int64_t) { return update_ns - (lies ? 50 * kMs : 0); }};
  REQUIRE(driver.placed(300) > 20);
  lies = true;
  (void)driver.placed(8);
  CHECK_FALSE(driver.trust.is_trusted());
  lies = false;
  CHECK(driver.placed(300) == 0);
}

TEST_CASE("a value that stays while its stamp moves ends the trust") {
  bool reads = false;
  Driver driver{[&](std::int64_t update_ns, std::int64_t read_ns) { return reads ? read_ns : update_ns; }};
  REQUIRE(driver.placed(300) > 20);
  reads = true;
  CHECK(driver.placed(20) <= 1);
  CHECK_FALSE(driver.trust.is_trusted());
}

TEST_CASE("a value that was never seen at rest is no evidence") {
  // Every look sees a new value, stamped when read or when updated: that cannot be told.
  Driver driver{of_reading};
  driver.period_ns = 2 * kMs;
  CHECK(driver.placed(500, 5 * kMs) == 0);
  Driver honest{of_update};
  honest.period_ns = 2 * kMs;
  CHECK(honest.placed(500, 5 * kMs) == 0);
}

TEST_CASE("the wall clock may be set at any time: nothing is concluded from that, and nothing placed by it") {
  Driver driver{of_update};
  REQUIRE(driver.placed(300) > 20);
  for (const std::int64_t jump_ns : {3'600'000 * kMs, -7'200'000 * kMs, 5 * kMs, -5 * kMs}) {
    CAPTURE(jump_ns);
    // Set after the last update was stamped and before it was looked at.
    driver.ahead_ns += jump_ns;
    CHECK(driver.look(20 * kMs).step.at_ns == 0);
    driver.stamp_ahead_ns = driver.ahead_ns;
    for (int i = 0; i < 100; ++i) {
      const auto seen = driver.look(4 * kMs);
      if (seen.step.at_ns == 0) continue;
      CHECK(seen.step.at_ns - seen.step.gap_ns < seen.update_ns);
      CHECK(seen.update_ns <= seen.step.at_ns);
    }
    CHECK(driver.trust.is_trusted());
    CHECK(driver.placed(100) > 10);
  }
}

TEST_CASE("a wall clock that is slewed makes gaps wider, not wrong") {
  Driver driver{of_update};
  int placed = 0;
  for (int i = 0; i < 500; ++i) {
    const std::int64_t before_ns = driver.ahead_ns;
    driver.ahead_ns += 2 * kUs;  // 500 ppm
    driver.stamp_ahead_ns = driver.ahead_ns;
    const auto seen = driver.look(4 * kMs);
    if (seen.step.at_ns == 0) continue;
    ++placed;
    // The stamp was made with the clock as it was somewhere since the look before.
    CHECK(seen.step.at_ns - seen.step.gap_ns < seen.update_ns);
    CHECK(seen.step.at_ns + driver.ahead_ns - before_ns >= seen.update_ns);
  }
  CHECK(placed > 50);
}

TEST_CASE("the real wall clock is converted there and back") {
  WallClock wall;
  wall.look();
  wall.look();
  CHECK(wall.doubt_ns() >= 0);
  const std::int64_t t = now_ns();
  CHECK(wall.monotonic_ns(wall.wall_us(t)) <= t);
  CHECK(wall.monotonic_ns(wall.wall_us(t)) > t - 1'000);
  timespec real;
  ::clock_gettime(CLOCK_REALTIME, &real);
  // A day is enough to see that the clocks were not taken for one another.
  const std::int64_t apart_us = wall.wall_us(now_ns()) - (static_cast<std::int64_t>(real.tv_sec) * 1'000'000 + real.tv_nsec / 1000);
  CHECK(std::abs(apart_us) < 86'400'000'000);
}
