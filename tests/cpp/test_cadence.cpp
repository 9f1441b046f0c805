// SPDX-License-Identifier: MIT
#include "core/cadence.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "simulation.hpp"

using namespace powerprobe;
using namespace powerprobe::test;

namespace {

// Feeds all steps and gives the mean size of the error with which each was forecast right after the one before.
double mean_error_ns(Cadence& cadence, const Steps& steps, std::size_t every = 1) {
  double sum = 0.0;
  std::size_t count = 0;
  for (std::size_t i = 0; i < steps.size(); i += every) {
    if (i > 50 * every) {
      const std::int64_t forecast_ns = every == 1 ? cadence.next_ns(cadence.last_ns()) : cadence.nearest_ns(steps[i]);
      sum += std::abs(static_cast<double>(forecast_ns - steps[i]));
      ++count;
    }
    cadence.step(steps[i], every == 1);
  }
  return sum / static_cast<double>(count);
}

// Steps at the times of a grid of one millisecond, in turn so much late and early; the last one late. Nothing in it is random,
// and a line through it is off by shake_ns, the step before by twice that.
Cadence alternating(std::int64_t shake_ns, std::int64_t count = 401) {
  Cadence cadence(kMilli);
  for (std::int64_t i = 0; i < count; ++i) cadence.step(i * kMilli + (i % 2 == 0 ? shake_ns : -shake_ns), true);
  return cadence;
}

}  // namespace

TEST_CASE("nothing is known before two steps in a row, and then the period is the counter's own") {
  Cadence cadence(kMilli);
  CHECK_FALSE(cadence.is_in_phase());
  CHECK_FALSE(cadence.is_learned());
  CHECK(cadence.period_ns() == 1e6);
  cadence.step(10 * kMilli, false);
  CHECK(cadence.is_in_phase());
  CHECK_FALSE(cadence.is_learned());
  cadence.step(10 * kMilli + 300 * kMicro, true);
  CHECK(cadence.is_learned());
  CHECK(cadence.period_ns() == 3e5);
  CHECK(cadence.next_ns(10 * kMilli + 400 * kMicro) == 10 * kMilli + 600 * kMicro);
  CHECK(cadence.next_ns(10 * kMilli + 700 * kMicro) == 10 * kMilli + 900 * kMicro);
}

TEST_CASE("the next step is never the one that was just seen, even if that came early") {
  Cadence cadence(kMilli);
  for (std::int64_t i = 0; i < 40; ++i) cadence.step(i * kMilli, true);
  cadence.step(40 * kMilli - 30 * kMicro, true);
  CHECK(cadence.next_ns(40 * kMilli - 29 * kMicro) > 40 * kMilli + 900 * kMicro);
}

TEST_CASE("a metronome is forecast to the nanosecond, also when only every seventh step is seen") {
  Cadence cadence(kMilli);
  CHECK(mean_error_ns(cadence, grid(976'563, 0, kSecond)) < 2.0);
  CHECK(cadence.spread_ns() < 2.0);
  Cadence sparse(kMilli);
  sparse.step(0, false);
  sparse.step(976'563, true);
  CHECK(mean_error_ns(sparse, grid(976'563, 0, 5 * kSecond), 7) < 20.0);
  CHECK(sparse.period_ns() == doctest::Approx(976'563).epsilon(1e-4));
}

// A uniform error of up to 20 us is 10 us in size on average; the last step alone would give 13.
TEST_CASE("of steps that shake around a grid the shaking averages out") {
  Cadence cadence(kMilli);
  CHECK(mean_error_ns(cadence, grid(kMilli, 20 * kMicro, 5 * kSecond)) < 11'200.0);
}

// The spread of a single step, 225 us in size on average. A line through the last thirty would be off by three times that.
TEST_CASE("where every step begins anew the last one says most") {
  Cadence cadence(kMilli);
  CHECK(mean_error_ns(cadence, ice_lake(10 * kSecond)) < 300'000.0);
  CHECK(cadence.period_ns() == doctest::Approx(1e6).epsilon(0.15));
}

TEST_CASE("a counter that changes its period is followed") {
  Cadence cadence(kMilli);
  const Steps before = grid(kMilli, 0, kSecond);
  for (const std::int64_t t : before) cadence.step(t, true);
  CHECK(cadence.period_ns() == doctest::Approx(1e6));
  for (const std::int64_t t : grid(1'400 * kMicro, 0, kSecond)) cadence.step(before.back() + t, true);
  CHECK(cadence.period_ns() == doctest::Approx(1.4e6).epsilon(0.01));
}

TEST_CASE("a regular counter that lets a step out at rest keeps its period") {
  Cadence cadence(kMilli);
  for (std::int64_t i = 0; i < 200; ++i) {
    if (i % 9 != 0) cadence.step(i * kMilli, true);
  }
  CHECK(cadence.period_ns() == doctest::Approx(1e6).epsilon(1e-6));
}

TEST_CASE("what was learned can be forgotten") {
  Cadence cadence(kMilli);
  for (const std::int64_t t : grid(2'500 * kMicro, 0, kSecond)) cadence.step(t, true);
  cadence.unlearn();
  CHECK_FALSE(cadence.is_learned());
  CHECK_FALSE(cadence.is_well_learned());
  CHECK_FALSE(cadence.is_in_phase());
  cadence.step(2 * kSecond, false);
  cadence.step(2 * kSecond + kMilli, true);
  CHECK(cadence.period_ns() == 1e6);
}

TEST_CASE("after a pause the period still holds and the phase is the new one") {
  Cadence cadence(kMilli);
  for (const std::int64_t t : grid(1'200 * kMicro, 0, kSecond)) cadence.step(t, true);
  cadence.lose_phase();
  CHECK_FALSE(cadence.is_in_phase());
  CHECK(cadence.is_learned());
  cadence.step(100 * kSecond + 77, false);
  CHECK(cadence.next_ns(100 * kSecond + 100) == 100 * kSecond + 77 + 1'200 * kMicro);
}

TEST_CASE("eight steps of a regular counter are enough to know it well") {
  Cadence cadence(kMilli);
  CHECK_FALSE(cadence.is_well_learned());
  for (std::int64_t i = 0; i < 7; ++i) cadence.step(i * kMilli, true);
  CHECK_FALSE(cadence.is_well_learned());
  cadence.step(7 * kMilli, true);
  CHECK(cadence.is_well_learned());
}

TEST_CASE("of an irregular counter thirty-two steps in a row are enough, however often its phase was lost meanwhile") {
  Cadence cadence(kMilli);
  for (std::int64_t i = 0; i < 31; ++i) {
    cadence.lose_phase();
    cadence.step(i * kSecond, false);
    cadence.step(i * kSecond + kMilli, true);
  }
  CHECK_FALSE(cadence.is_well_learned());
  cadence.step(31 * kSecond, true);
  CHECK(cadence.is_well_learned());
}

TEST_CASE("steps that were never seen in a row teach no period") {
  Cadence cadence(1'100 * kMicro);
  for (std::int64_t i = 0; i < 20; ++i) cadence.step(2 * i * kMilli, false);
  CHECK_FALSE(cadence.is_learned());
  CHECK_FALSE(cadence.is_well_learned());
  CHECK(cadence.period_ns() == 1.1e6);
  CHECK(cadence.spread_ns() == 0.0);
}

TEST_CASE("what was expected wrongly before the period was learned is no spread of the counter") {
  Cadence cadence(kMilli);
  cadence.step(0, false);
  cadence.step(300 * kMicro, true);
  CHECK(cadence.spread_ns() == 0.0);
}

TEST_CASE("the spread is a mean of about the last sixteen errors") {
  Cadence cadence(kMilli);
  for (std::int64_t i = 0; i < 100; ++i) cadence.step(i * kMilli, true);
  cadence.step(100 * kMilli + 16 * kMicro, true);
  CHECK(cadence.spread_ns() == doctest::Approx(1'000).epsilon(0.01));
}

TEST_CASE("the spread is that of the way of telling that is believed") {
  CHECK(alternating(20 * kMicro).spread_ns() == doctest::Approx(20'000).epsilon(0.1));  // the last step alone: 40
  Cadence cadence(kMilli);
  double sum_ns = 0.0;
  const Steps steps = ice_lake(10 * kSecond);
  for (const std::int64_t t : steps) {
    cadence.step(t, true);
    sum_ns += cadence.spread_ns();
  }
  CHECK(sum_ns / static_cast<double>(steps.size()) == doctest::Approx(250'000).epsilon(0.1));
}

TEST_CASE("steps that shake are expected at the places of the grid, not one period after a step that came late") {
  const Cadence cadence = alternating(20 * kMicro);
  const std::int64_t last_ns = cadence.last_ns();
  CHECK(std::abs(cadence.next_ns(last_ns) - last_ns - 980 * kMicro) < 3 * kMicro);
  CHECK(cadence.next_ns(last_ns + 990 * kMicro) > last_ns + 1'900 * kMicro);
  CHECK(std::abs(cadence.nearest_ns(last_ns + 487 * kMicro) - last_ns - 980 * kMicro) < 3 * kMicro);
  CHECK(std::abs(cadence.period_ns() - 1e6) < 300.0);  // the distance of the first and the last in the window says 1.3 us less
}

TEST_CASE("the next step is one after the instant, also if the instant is that of a step") {
  Cadence cadence(kMilli);
  cadence.step(0, false);
  cadence.step(300 * kMicro, true);
  CHECK(cadence.next_ns(600 * kMicro) == 900 * kMicro);
}

TEST_CASE("the last thirty-two steps count and no other") {
  Cadence cadence(kMilli);
  for (std::int64_t i = 0; i <= 100; ++i) cadence.step(i * kMilli, true);
  for (std::int64_t i = 1; i <= 30; ++i) cadence.step(100 * kMilli + i * 1'400 * kMicro, true);
  CHECK(cadence.next_ns(cadence.last_ns()) - cadence.last_ns() < 1'399 * kMicro);
  cadence.step(100 * kMilli + 31 * 1'400 * kMicro, true);
  CHECK(cadence.next_ns(cadence.last_ns()) - cadence.last_ns() == 1'400 * kMicro);
}

TEST_CASE("a step twice as long is two where steps stray by less than an eighth of the period, else one") {
  Cadence regular = alternating(105 * kMicro);
  regular.step(402 * kMilli + 105 * kMicro, true);
  CHECK(regular.period_ns() == doctest::Approx(1e6).epsilon(2e-3));
  Cadence irregular = alternating(140 * kMicro);
  irregular.step(402 * kMilli + 140 * kMicro, true);
  CHECK(irregular.period_ns() > 1.02e6);
}

TEST_CASE("also a step that comes much too early is one") {
  Cadence cadence(kMilli);
  for (std::int64_t i = 0; i < 100; ++i) cadence.step(i * kMilli, true);
  cadence.step(99 * kMilli + 300 * kMicro, true);
  CHECK(cadence.spread_ns() == doctest::Approx(700'000 / 16).epsilon(0.01));
}

TEST_CASE("steps let out are counted also where the rest shakes") {
  Cadence cadence(kMilli);
  for (std::int64_t i = 0; i < 200; ++i) {
    if (i % 9 != 0) cadence.step(i * kMilli + i % 3 * 20 * kMicro, i % 9 != 1);
  }
  CHECK(cadence.period_ns() == doctest::Approx(1e6).epsilon(1e-3));
  CHECK(cadence.spread_ns() < 30'000.0);
}

TEST_CASE("the period of an irregular counter is the mean of its last steps, and each of those is one") {
  Cadence cadence(kMilli);
  std::int64_t t = 0;
  std::int64_t ahead_ns = 0;
  for (int i = 0; i < 400; ++i) {
    cadence.step(t += i % 2 == 0 ? 400 * kMicro : 1'600 * kMicro, true);
    if (i >= 398) ahead_ns += cadence.next_ns(t) - t;
  }
  CHECK(cadence.period_ns() == doctest::Approx(1e6).epsilon(0.03));
  CHECK(ahead_ns == doctest::Approx(2e6).epsilon(0.1));
  for (int i = 0; i < 100; ++i) cadence.step(t += i % 2 == 0 ? 800 * kMicro : 3'200 * kMicro, true);
  CHECK(cadence.period_ns() == doctest::Approx(2e6).epsilon(0.1));
}

TEST_CASE("what is learned anew after a counter was forgotten is not mixed with what was known") {
  Cadence cadence(kMilli);
  const Steps steps = ice_lake(kSecond);
  for (const std::int64_t t : steps) cadence.step(t, true);
  cadence.unlearn();
  cadence.step(2 * kSecond, false);
  cadence.step(2 * kSecond + 3 * kMilli, true);
  CHECK(cadence.next_ns(2 * kSecond + 4 * kMilli) == 2 * kSecond + 6 * kMilli);
}

TEST_CASE("where the last step says most the period is the mean of those in the window") {
  Cadence cadence(kMilli);
  for (std::int64_t i = 0; i <= 100; ++i) cadence.step(i * kMilli, true);
  for (std::int64_t i = 1; i <= 9; ++i) cadence.step(100 * kMilli + i * 1'020 * kMicro, true);
  CHECK(cadence.period_ns() == doctest::Approx((22.0 * 1e6 + 9.0 * 1.02e6) / 31.0).epsilon(1e-4));
}

TEST_CASE("a period that was read off a line soon gives way to one that is not") {
  Cadence cadence(kMilli);
  std::int64_t t = 0;
  for (int i = 0; i < 200; ++i) cadence.step(t += kMilli, true);
  for (int i = 0; i < 5; ++i) {
    cadence.lose_phase();
    cadence.step(t += kSecond, false);
    cadence.step(t += 1'300 * kMicro, true);
  }
  CHECK(cadence.period_ns() > 1.1e6);
}
