// SPDX-License-Identifier: MIT
#include "sources/nvml_power.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

using namespace powerprobe;

namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kUs = 1'000;

// Power that changes at random, and the joules behind it.
class Load {
 public:
  explicit Load(std::uint64_t seed, std::int64_t from_ns, std::int64_t to_ns) {
    std::mt19937_64 random(seed);
    std::uniform_int_distribution<std::int64_t> length_ns(kMs, 300 * kMs);
    std::uniform_int_distribution<std::int64_t> mw(0, 700'000);
    double picojoules = 0.0;
    for (std::int64_t t = from_ns; t < to_ns;) {
      const std::int64_t power = mw(random);
      pieces_.push_back({t, power, picojoules});
      const std::int64_t length = length_ns(random);
      picojoules += static_cast<double>(power) * static_cast<double>(length);
      t += length;
    }
  }
  [[nodiscard]] double picojoules(std::int64_t t_ns) const {
    auto piece = std::upper_bound(pieces_.begin(), pieces_.end(), t_ns, [](std::int64_t t, const Piece& p) { return t < p.t_ns; });
    --piece;
    return piece->picojoules + static_cast<double>(piece->mw) * static_cast<double>(t_ns - piece->t_ns);
  }
  // What a sensor shows that looked at the power for so long.
  [[nodiscard]] std::uint64_t mean_mw(std::int64_t t_ns, std::int64_t window_ns) const {
    return static_cast<std::uint64_t>(
        std::llround((picojoules(t_ns) - picojoules(t_ns - window_ns)) / static_cast<double>(window_ns)));
  }

 private:
  struct Piece {
    std::int64_t t_ns;
    std::int64_t mw;
    double picojoules;
  };
  std::vector<Piece> pieces_;
};

constexpr double kMicrojoule = 1e6;  // picojoules

}  // namespace

TEST_CASE("energy is exact, with any power and time, however it is cut into pieces") {
  std::mt19937_64 random(1);
  for (int round = 0; round < 200; ++round) {
    Energy energy;
    __extension__ unsigned __int128 picojoules = 0;
    for (int i = 0; i < 50; ++i) {
      const std::uint64_t mw = random() >> (32 + random() % 32);
      const auto ns = static_cast<std::int64_t>(random() % (1ULL << (random() % 44)));
      energy.add(mw, ns);
      picojoules += static_cast<unsigned __int128>(mw) * static_cast<std::uint64_t>(ns);
      REQUIRE(energy.microjoules() == static_cast<std::uint64_t>(picojoules / 1'000'000));
    }
  }
}

TEST_CASE("a display whose changes are seen from both sides gives the true energy where the window is the period") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const auto period_ns = static_cast<std::int64_t>(20 + random() % 100) * kMs;
    const Load load(seed, 0, 20'000 * kMs);
    DisplayIntegral integral(period_ns, period_ns);
    double first_uj = -1.0;
    std::int64_t last_at_ns = INT64_MIN;
    int news_seen = 0;
    std::uint64_t shown = 0;
    for (std::int64_t update = 2 * period_ns; update < 15'000 * kMs; update += period_ns) {
      const auto around_ns = static_cast<std::int64_t>(1 + random() % 5'000) * kUs;
      // The display changes in the middle of the two looks.
      for (const std::int64_t look : {update - around_ns, update + around_ns}) {
        if (look > update) shown = load.mean_mw(update, period_ns);
        if (look < update && update == 2 * period_ns) continue;
        const EnergyNews news = integral.look(shown, look, look);
        if (!news.is_news) continue;
        CHECK(news.at_ns > last_at_ns);
        CHECK(news.at_ns <= look);
        last_at_ns = news.at_ns;
        // The first look came somewhere within a reading's time; from the first change on all is exact.
        if (++news_seen < 2) continue;
        const double off_uj = static_cast<double>(news.microjoules) - load.picojoules(news.at_ns) / kMicrojoule;
        if (news_seen == 2) first_uj = off_uj;
        // Readings are whole milliwatts, rounded.
        CHECK(std::abs(off_uj - first_uj) <= 0.5 * static_cast<double>(news.at_ns) / kMicrojoule + 2.0);
      }
    }
    CHECK(news_seen > 50);
  }
}

TEST_CASE("looks at any time cost no more than the changes can have been misplaced") {
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    const std::int64_t period_ns = 100 * kMs;
    const Load load(seed + 1000, 0, 20'000 * kMs);
    DisplayIntegral integral(period_ns, period_ns);
    std::int64_t look = 2 * period_ns;
    const auto shown_at = [&](std::int64_t t) { return load.mean_mw(t / period_ns * period_ns, period_ns); };
    std::uint64_t last_mw = shown_at(look);
    const EnergyNews first = integral.look(last_mw, look, look);
    REQUIRE(first.is_news);
    REQUIRE(first.microjoules == 0);
    const double first_pj = load.picojoules(first.at_ns);
    double misplaced_uj = 2.0;
    while (look < 15'000 * kMs) {
      const auto pause_ns = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(40 * kMs)) + 1;
      look += pause_ns;
      const std::uint64_t mw = shown_at(look);
      const double jump = std::abs(static_cast<double>(mw) - static_cast<double>(last_mw));
      misplaced_uj += 0.5 * jump * static_cast<double>(pause_ns) / kMicrojoule;
      last_mw = mw;
      const EnergyNews news = integral.look(mw, look, look);
      if (!news.is_news) continue;
      const double true_uj = (load.picojoules(news.at_ns) - first_pj) / kMicrojoule;
      const double rounding_uj = 0.5 * static_cast<double>(news.at_ns) / kMicrojoule;
      // Within a reading's window the power is not known: what it can be off by is one period of the largest power.
      const double within_uj = 700'000.0 * static_cast<double>(period_ns) / kMicrojoule;
      CHECK(std::abs(static_cast<double>(news.microjoules) - true_uj) <= misplaced_uj + rounding_uj + within_uj);
    }
  }
}

TEST_CASE("the energy is placed half a window and half a period back") {
  DisplayIntegral integral(100 * kMs, 25 * kMs);
  CHECK(integral.look(50'000, 1'000 * kMs, 1'000 * kMs).at_ns == 1'000 * kMs - 62'500 * kUs);
}

TEST_CASE("a reading that changes is news, one that does not is news once a period") {
  DisplayIntegral integral(100 * kMs, 100 * kMs);
  int news = 0;
  for (std::int64_t t = 0; t <= 1'000 * kMs; t += kMs) {
    if (integral.look(50'000, t, t).is_news) ++news;
  }
  CHECK(news == 11);

  const EnergyNews changed = integral.look(70'000, 1'002 * kMs, 1'004 * kMs);
  CHECK(changed.is_news);
  // Last seen at 1000 ms, seen changed at 1003 ms: 50 W until the middle.
  CHECK(changed.at_ns == 1'001'500 * kUs - 100 * kMs);
  CHECK(changed.microjoules == 50'075'000);
  CHECK_FALSE(integral.look(70'000, 1'004 * kMs, 1'004 * kMs).is_news);
  const EnergyNews held = integral.look(70'000, 1'101'500 * kUs, 1'101'500 * kUs);
  CHECK(held.is_news);
  CHECK(held.microjoules == 57'075'000);
}

TEST_CASE("a clock that stands still brings no news and no energy") {
  DisplayIntegral integral(100 * kMs, 100 * kMs);
  (void)integral.look(50'000, 5 * kMs, 5 * kMs);
  CHECK_FALSE(integral.look(70'000, 5 * kMs, 5 * kMs).is_news);
  CHECK_FALSE(integral.look(70'000, 4 * kMs, 4 * kMs).is_news);
  CHECK(integral.look(50'000, 105 * kMs, 105 * kMs).microjoules == 5'000'000);
}

TEST_CASE("what a display showed while nobody looked for long is not made up: the energy begins at 0 again") {
  DisplayIntegral integral(100 * kMs, 100 * kMs);
  (void)integral.look(50'000, 1'000 * kMs, 1'000 * kMs);
  CHECK(integral.look(50'000, 2'000 * kMs, 2'000 * kMs).microjoules == 50'000'000);  // ten periods are held
  const EnergyNews anew = integral.look(70'000, 3'001 * kMs, 3'001 * kMs);
  CHECK(anew.is_news);
  CHECK(anew.at_ns == 2'901 * kMs);
  CHECK(anew.microjoules == 0);
  CHECK(integral.look(70'000, 3'101 * kMs, 3'101 * kMs).microjoules == 7'000'000);
}

TEST_CASE("buffered readings that the driver forgot before they were fetched are not made up either") {
  BufferIntegral integral(20 * kMs, 20 * kMs);
  (void)integral.add(100'000, 1'000 * kMs);
  CHECK(integral.add(100'000, 1'200 * kMs).microjoules == 20'000'000);
  CHECK(integral.add(100'000, 1'401 * kMs).microjoules == 0);
  CHECK(integral.add(100'000, 1'421 * kMs).microjoules == 2'000'000);
}

TEST_CASE("readings with times are joined by the trapezoid rule over the middles of their windows") {
  BufferIntegral integral(10 * kMs, 20 * kMs);
  CHECK(integral.add(100'000, 1'000 * kMs).at_ns == 990 * kMs);
  const EnergyNews second = integral.add(200'000, 1'010 * kMs);
  CHECK(second.at_ns == 1'000 * kMs);
  CHECK(second.microjoules == 1'500'000);
  // Out of order, or twice the same: nothing.
  CHECK_FALSE(integral.add(900'000, 1'010 * kMs).is_news);
  CHECK_FALSE(integral.add(900'000, 1'005 * kMs).is_news);
  CHECK(integral.add(200'000, 1'030 * kMs).microjoules == 5'500'000);
}

TEST_CASE("steady power is exact from buffered readings at any times") {
  std::mt19937_64 random(7);
  BufferIntegral integral(20 * kMs, 25 * kMs);
  std::int64_t t = kMs;
  (void)integral.add(123'457, t);
  const std::int64_t first = t;
  for (int i = 0; i < 1000; ++i) {
    t += 1 + static_cast<std::int64_t>(random() % 30'000'000);
    const auto uj = static_cast<std::int64_t>(integral.add(123'457, t).microjoules);
    CHECK(std::abs(uj - (t - first) * 123'457 / 1'000'000) <= 1);
  }
}
