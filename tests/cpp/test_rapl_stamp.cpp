// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cerrno>

#include "sources/rapl_stamp.hpp"

using namespace powerprobe;

namespace {

constexpr std::uint32_t kEnergy = 0x611;
constexpr std::uint32_t kStamped = 0x612;

constexpr std::uint64_t stamped(std::uint64_t stamp, std::uint32_t energy) { return stamp << 32 | energy; }

StampLook at(std::int64_t ns, std::uint32_t stamp) { return {ns, ns + 1000, stamp}; }

}  // namespace

TEST_CASE("a stamped twin is recognised, and the upper half of the energy register does not matter") {
  const auto look = look_at_stamp(
      [](std::uint32_t number, std::uint64_t& value) {
        value = number == kStamped ? stamped(0xFFFFFFFF, 7) : 0xABCD00000007;
        return 0;
      },
      kEnergy, kStamped);
  REQUIRE(look.has_value());
  CHECK(look->stamp == 0xFFFFFFFF);
  CHECK(look->after_ns >= look->before_ns);
}

TEST_CASE("an update may come between any two of the reads, also one that wraps") {
  for (int updated_before = 1; updated_before <= 4; ++updated_before) {
    for (const std::uint32_t step : {0x10u, 0x80000000u}) {
      CAPTURE(updated_before);
      int reads = 0;
      const auto look = look_at_stamp(
          [&](std::uint32_t number, std::uint64_t& value) {
            ++reads;
            const std::uint32_t energy = reads >= updated_before ? 0xFFFFFFF8 + step : 0xFFFFFFF8;
            value = number == kStamped ? stamped(reads >= updated_before ? 200 : 100, energy) : energy;
            return 0;
          },
          kEnergy, kStamped);
      REQUIRE(look.has_value());
      CHECK(look->stamp == (updated_before <= 2 ? 200u : 100u));
    }
  }
}

TEST_CASE("another quantity is no twin") {
  for (const std::uint32_t energy : {0u, 6u, 8u}) {
    CHECK_FALSE(look_at_stamp(
                    [&](std::uint32_t number, std::uint64_t& value) {
                      value = number == kStamped ? stamped(5, energy) : 7;
                      return 0;
                    },
                    kEnergy, kStamped)
                    .has_value());
  }
}

TEST_CASE("a clock that runs on between updates is no stamp") {
  std::uint64_t clock = 0;
  CHECK_FALSE(look_at_stamp(
                  [&](std::uint32_t number, std::uint64_t& value) {
                    value = number == kStamped ? stamped(++clock, 7) : 7;
                    return 0;
                  },
                  kEnergy, kStamped)
                  .has_value());
}

TEST_CASE("a register that fails is no twin, whenever it fails") {
  for (int fails = 1; fails <= 4; ++fails) {
    int reads = 0;
    CHECK_FALSE(look_at_stamp(
                    [&](std::uint32_t number, std::uint64_t& value) {
                      value = number == kStamped ? stamped(1, 7) : 7;
                      return ++reads == fails ? EIO : 0;
                    },
                    kEnergy, kStamped)
                    .has_value());
  }
}

TEST_CASE("stamps in ticks of 10 ns go like the clock, also over their end") {
  const std::int64_t ms = 1'000'000;
  CHECK(goes_like_the_clock(at(0, 0), at(50 * ms, 5'000'000), ms));
  CHECK(goes_like_the_clock(at(0, 0xFFFFFF00), at(50 * ms, 4'999'744), ms));
  // Old by up to a period at either look.
  CHECK(goes_like_the_clock(at(0, 0), at(50 * ms, 4'900'000), ms));
  CHECK(goes_like_the_clock(at(0, 0), at(50 * ms, 5'100'000), ms));
}

TEST_CASE("other ticks do not go like the clock") {
  const std::int64_t ms = 1'000'000;
  for (const std::uint32_t ticks : {0u, 51u /* of 976 us */, 1'200'000u /* 24 MHz */, 1'920'000u /* 38.4 MHz */,
                                    4'750'000u, 5'250'000u, 6'666'667u /* 133 MHz */, 100'000'000u /* 2 GHz */}) {
    CAPTURE(ticks);
    CHECK_FALSE(goes_like_the_clock(at(0, 1000), at(50 * ms, 1000 + ticks), ms));
  }
}
