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
      sum += std::abs(static_cast<double>(cadence.nearest_ns(steps[i]) - steps[i]));
      ++count;
    }
    cadence.step(steps[i], every == 1);
  }
  return sum / static_cast<double>(count);
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
