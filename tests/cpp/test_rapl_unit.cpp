// SPDX-License-Identifier: MIT
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <random>

#include "sources/rapl_unit.hpp"

using namespace powerprobe;

namespace {

constexpr double kScale = 1.0 / 4294967296.0;
constexpr std::uint64_t kRegister = std::uint64_t{1} << 32;

RaplUnit watched(std::uint64_t unit, int readings, std::mt19937_64& random, std::uint64_t start = 0) {
  RaplUnit result;
  std::uint64_t count = start;
  for (int i = 0; i <= readings; ++i) {
    result.see(count);
    count += unit * (1 + random() % 2000);
  }
  return result;
}

}  // namespace

TEST_CASE("the modulus is 2^32 hardware units: powers of two of rapl.c and whole numbers of TPMI") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  // 2^-14 J and 2^-16 J; 61035 nJ and 15258 nJ in 2^-32 J, rounded down.
  for (const std::uint64_t unit : {1ull << 18, 1ull << 16, 262143ull, 65532ull}) {
    CAPTURE(unit);
    CHECK(watched(unit, 40, random).modulus(kScale) == unit * kRegister);
    CHECK(watched(unit, 40, random, random()).modulus(kScale) == unit * kRegister);
  }
}

TEST_CASE("a fall tells the unit as well") {
  for (const std::uint64_t unit : {1ull << 18, 262143ull}) {
    RaplUnit result;
    for (const std::uint64_t counts : {2000u, 900u, 30u, 7u, 6u}) result.see(counts * unit);
    CHECK(result.modulus(kScale) == kRegister * unit);
  }
}

TEST_CASE("a counter that hardly moved tells nothing") {
  RaplUnit unit;
  unit.see(5 << 18);
  unit.see(5 << 18);
  CHECK(unit.moves() == 0);
  CHECK(unit.modulus(kScale) == 0);
  for (std::uint64_t i = 1; i < RaplUnit::kFewMoves; ++i) unit.see((5 + i) << 18);
  CHECK(unit.moves() == RaplUnit::kFewMoves - 1);
  CHECK(unit.modulus(kScale) == 0);
  unit.see(99 << 18);
  CHECK(unit.modulus(kScale) == kRegister << 18);
}

TEST_CASE("the unit is never larger than what was seen to move") {
  RaplUnit unit;
  CHECK(unit.largest(kScale) == 0.0);
  unit.see(0);
  unit.see(6 * kRegister);
  CHECK(unit.largest(kScale) == 6.0);
  unit.see(10 * kRegister);
  unit.see(11 * kRegister);
  CHECK(unit.largest(kScale) == 1.0);
}

TEST_CASE("the first count is no move: only differences mean anything") {
  RaplUnit unit;
  unit.see(12345);
  CHECK(unit.moves() == 0);
  for (std::uint64_t i = 1; i < 9; ++i) unit.see(12345 + (i << 18));
  CHECK(unit.modulus(kScale) == kRegister << 18);
}

TEST_CASE("counters with the same unit are better together") {
  RaplUnit even;
  RaplUnit odd;
  for (std::uint64_t i = 0; i < 9; ++i) {
    even.see((i * 2) << 18);
    odd.see((i * 3) << 18);
  }
  CHECK(even.modulus(kScale) == kRegister << 19);
  even.merge(odd);
  CHECK(even.moves() == 16);
  CHECK(even.modulus(kScale) == kRegister << 18);
}

TEST_CASE("what RAPL cannot have has no modulus") {
  std::mt19937_64 random(1);
  CHECK(watched(1, 40, random).modulus(kScale) == 0);          // a plain 64-bit count
  CHECK(watched(kRegister, 40, random).modulus(kScale) == 0);  // units of 1 J: 2^64 counts
  CHECK(watched(kRegister / 2 * 3, 40, random).modulus(kScale) == 0);
  CHECK(watched(kRegister / 4, 40, random).modulus(kScale) == kRegister / 4 * kRegister);
}
