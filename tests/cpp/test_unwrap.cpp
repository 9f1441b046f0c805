// SPDX-License-Identifier: MIT
#include "core/unwrap.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>

using namespace powerprobe;

namespace {

constexpr std::uint64_t k32 = std::uint64_t{1} << 32;
constexpr double kUnit = 1.0 / 65536.0;  // joules per count, as Intel servers have it
constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kSecond = 1'000'000'000;

struct Row {
  const char* rule;
  std::uint64_t modulus;
  double max_watts;
  std::int64_t stale_ns;
  std::uint64_t from, to;
  std::int64_t elapsed_ns;
  Step step;
  std::uint64_t counted;
  bool ambiguous;
};

// 1000 W at this unit are 65 536 000 counts a second; 2^32 of them last 65.536 s.
constexpr std::array kRows{
    Row{"rest", k32, 1000, 0, 5, 5, kMs, Step::kStill, 0, false},
    Row{"forward", k32, 1000, 0, 5, 65, kMs, Step::kPlain, 60, false},
    Row{"forward by one", k32, 1000, 0, 0, 1, kMs, Step::kPlain, 1, false},
    Row{"wrap onto zero", k32, 1000, 0, k32 - 1, 0, kMs, Step::kWrapped, 1, false},
    Row{"wrap across zero", k32, 1000, 0, k32 - 10, 20, kMs, Step::kWrapped, 30, false},
    Row{"a wrap is modular in 32 bits, never in 64", k32, 0, 0, k32 - 10, 20, kMs, Step::kWrapped, 30, false},
    Row{"as much as the limit allows", k32, 1000, 0, 0, 65536, kMs, Step::kPlain, 65536, false},
    Row{"one count more than the limit allows", k32, 1000, 0, 0, 65537, kMs, Step::kReset, 0, false},
    Row{"the age of a value widens the limit", k32, 1000, kMs, 0, 2 * 65536, kMs, Step::kPlain, 2 * 65536, false},
    Row{"and not by more", k32, 1000, kMs, 0, 2 * 65536 + 1, kMs, Step::kReset, 0, false},
    Row{"fall that no load can make a wrap", k32, 1000, 0, 1'000'000, 5, kMs, Step::kReset, 0, false},
    Row{"fall of a counter without modulus", 0, 1000, 0, 1'000'000, 5, kMs, Step::kReset, 0, false},
    Row{"without modulus, forward", 0, 0, 0, 5, UINT64_MAX, kMs, Step::kPlain, UINT64_MAX - 5, false},
    Row{"unknown limit: forward is believed", k32, 0, 0, 0, k32 - 1, kMs, Step::kPlain, k32 - 1, false},
    Row{"unknown limit: wrap of half the modulus", k32, 0, 0, k32 / 2, 0, kMs, Step::kWrapped, k32 / 2, false},
    Row{"unknown limit: wrap of more is a reset", k32, 0, 0, k32 / 2 - 1, 0, kMs, Step::kReset, 0, false},
    Row{"powercap's modulus is not a power of two", 262143328851, 1000, 0, 262143328850, 9, kMs, Step::kWrapped, 10, false},
    // perf adds a signed 32-bit difference: unread for too long its count falls by one modulus, also from far above it.
    Row{"a 64-bit count falls by one modulus", k32, 1000, 0, 7 * k32 + 5, 6 * k32 + 65, kMs, Step::kWrapped, 60, false},
    Row{"a 64-bit count falls by a modulus exactly", k32, 1000, 0, 7 * k32, 6 * k32, kMs, Step::kReset, 0, false},
    Row{"and by more than one", k32, 1000, 0, 7 * k32, 5 * k32 + 1, kMs, Step::kReset, 0, false},
    Row{"wrap of as much as the limit allows", k32, 1000, 0, k32 - 65536, 0, kMs, Step::kWrapped, 65536, false},
    Row{"wrap of one count more", k32, 1000, 0, k32 - 65537, 0, kMs, Step::kReset, 0, false},
    Row{"just soon enough to be sure", k32, 1000, 0, 5, 65, 65'535 * kMs, Step::kPlain, 60, false},
    Row{"so late that it may have wrapped unseen", k32, 1000, 0, 5, 65, 65'536 * kMs, Step::kPlain, 60, true},
    Row{"late, and the age of the value counts", k32, 1000, kSecond, 5, 65, 65 * kSecond, Step::kPlain, 60, true},
    Row{"late with unknown limit says nothing", k32, 0, 0, 5, 65, 1000 * kSecond, Step::kPlain, 60, false},
    Row{"late without modulus says nothing", 0, 1000, 0, 5, 65, 1000 * kSecond, Step::kPlain, 60, false},
};

}  // namespace

TEST_CASE("a step is told from rest, wrap and reset, and only what was counted is added") {
  for (const Row& row : kRows) {
    CAPTURE(row.rule);
    Unwrapper unwrapper(row.modulus, kUnit, row.max_watts, row.stale_ns);
    CHECK(unwrapper.feed(row.from, kSecond) == Step::kFirst);
    CHECK(unwrapper.total() == 0);
    CHECK_FALSE(unwrapper.ambiguous());
    CHECK(unwrapper.feed(row.to, kSecond + row.elapsed_ns) == row.step);
    CHECK(unwrapper.total() == row.counted);
    CHECK(unwrapper.ambiguous() == row.ambiguous);
  }
}

TEST_CASE("after a reset counting goes on from the new value") {
  Unwrapper unwrapper(k32, kUnit, 1000, 0);
  unwrapper.feed(1'000'000, 0);
  CHECK(unwrapper.feed(1'000'100, kMs) == Step::kPlain);
  CHECK(unwrapper.feed(50, 2 * kMs) == Step::kReset);
  CHECK(unwrapper.feed(80, 3 * kMs) == Step::kPlain);
  CHECK(unwrapper.total() == 130);
}

TEST_CASE("many wraps add up to an exact total") {
  Unwrapper unwrapper(k32, kUnit, 1e6, 0);
  std::uint64_t truth = 0;
  std::uint64_t wraps = 0;
  const std::uint64_t step = 3'000'000'019;  // coprime to the modulus
  unwrapper.feed(0, 0);
  for (int i = 1; i <= 10'000; ++i) {
    truth += step;
    wraps += unwrapper.feed(truth % k32, i * kSecond) == Step::kWrapped ? 1u : 0u;
  }
  CHECK(unwrapper.total() == truth);
  CHECK(wraps == truth / k32);
}

TEST_CASE("doubt about unseen wraps ends with the next reading in time") {
  Unwrapper unwrapper(k32, kUnit, 1000, 0);
  unwrapper.feed(0, 0);
  unwrapper.feed(1, 100 * kSecond);
  CHECK(unwrapper.ambiguous());
  unwrapper.feed(2, 101 * kSecond);
  CHECK_FALSE(unwrapper.ambiguous());
}

TEST_CASE("a long reading before may have seen the counter as it was when that reading began") {
  // 100 W for 3 s, of which the second reading says less than 1 s has passed since the end of the first.
  Unwrapper unwrapper(k32, 1e-6, 100, 0);
  unwrapper.feed(0, 3 * kSecond, 2 * kSecond);
  CHECK(unwrapper.feed(300'000'000, 4 * kSecond) == Step::kPlain);
  CHECK(unwrapper.feed(500'000'000, 5 * kSecond) == Step::kReset);
}
