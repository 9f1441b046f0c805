// SPDX-License-Identifier: MIT
#include "sources/nvml_buffer.hpp"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

#include "allocations.hpp"
#include "core/clock.hpp"
#include "fake_library.hpp"
#include "sources/nvml.hpp"

using namespace powerprobe;
using test::FakeLibrary;

namespace {

constexpr std::int64_t kMs = 1'000'000;
constexpr std::int64_t kNowUs = 1'700'000'000'000'000;
constexpr NvmlTiming kInstant{100 * kMs, 25 * kMs};

std::vector<NvmlBuffered> steady(std::size_t count, std::int64_t distance_us, unsigned int mw) {
  std::vector<NvmlBuffered> readings(count);
  for (std::size_t i = 0; i < count; ++i) {
    readings[i].timestamp_us =
        static_cast<unsigned long long>(kNowUs - 1'000 - static_cast<std::int64_t>(count - 1 - i) * distance_us);
    readings[i].value.as_unsigned = mw;
  }
  return readings;
}

Found find(const FakeLibrary& fake) {
  Found found;
  find_nvml(fake.roots(), [](const ChannelInfo&) { return true; }, found);
  REQUIRE(found.sources.size() == 1);
  return found;
}

bool uses_buffer(const FakeLibrary& fake) {
  const Found found = find(fake);
  return found.sources.front()->channels().front().path.find("nvmlDeviceGetSamples") == 0;
}

}  // namespace

TEST_CASE("readings that are recent, in order, close together and plausible are believed") {
  const auto good = steady(20, 20'000, 300'000);
  CHECK(buffered_distance_ns(good, kNowUs, kInstant, 300'000) == 20 * kMs);
  CHECK(buffered_distance_ns(good, kNowUs, kInstant, 370'000) == 20 * kMs);
  CHECK(buffered_distance_ns(good, kNowUs, kInstant, 230'000) == 20 * kMs);
  CHECK(buffered_distance_ns(steady(8, 20'000, 300'000), kNowUs, kInstant, 300'000) == 20 * kMs);
}

TEST_CASE("one thing wrong is enough not to believe them") {
  const auto good = steady(20, 20'000, 300'000);
  CHECK(buffered_distance_ns(steady(7, 20'000, 300'000), kNowUs, kInstant, 300'000) == 0);
  CHECK(buffered_distance_ns(steady(20, 100'000, 300'000), kNowUs, kInstant, 300'000) == 0);
  CHECK(buffered_distance_ns(good, kNowUs + 5'000'000, kInstant, 300'000) == 0);
  CHECK(buffered_distance_ns(good, kNowUs - 5'000'000, kInstant, 300'000) == 0);
  CHECK(buffered_distance_ns(good, kNowUs, kInstant, 400'000) == 0);
  CHECK(buffered_distance_ns(good, kNowUs, kInstant, 200'000) == 0);
  CHECK(buffered_distance_ns(steady(20, 20'000, 0), kNowUs, kInstant, 300'000) == 0);
  auto twice = good;
  twice[7].timestamp_us = twice[6].timestamp_us;
  CHECK(buffered_distance_ns(twice, kNowUs, kInstant, 300'000) == 0);
  auto swapped = good;
  std::swap(swapped[7], swapped[8]);
  CHECK(buffered_distance_ns(swapped, kNowUs, kInstant, 300'000) == 0);
  CHECK(buffered_distance_ns(steady(20, 0, 300'000), kNowUs, kInstant, 300'000) == 0);
}

TEST_CASE("a board's buffer is used where it proves itself, and nowhere else") {
  const std::string board = "start_ns 1\nboard\n wave 0 1000000:300000\n";
  CHECK(uses_buffer(FakeLibrary(FAKE_NVML, board + " buffer period_us=20000 depth=120\n")));
  CHECK_FALSE(uses_buffer(FakeLibrary(FAKE_NVML, board)));
  CHECK_FALSE(uses_buffer(FakeLibrary(FAKE_NVML, board + " buffer period_us=20000 depth=5\n")));
  CHECK_FALSE(uses_buffer(FakeLibrary(FAKE_NVML, board + " buffer period_us=200000 depth=120\n")));
  CHECK_FALSE(uses_buffer(FakeLibrary(FAKE_NVML, board + " buffer period_us=20000 depth=120 stamps=zero\n")));
  CHECK_FALSE(uses_buffer(FakeLibrary(FAKE_NVML, board + " buffer period_us=20000 depth=120 stamps=wrong\n")));
  CHECK_FALSE(uses_buffer(FakeLibrary(FAKE_NVML, board + " buffer period_us=20000 depth=120 stamps=read\n")));
}

TEST_CASE("buffered readings come one by one, each once, and the energy is the true one") {
  const FakeLibrary fake(FAKE_NVML,
                         "start_ns 1\nboard\n wave 0 1000000:300000\n buffer period_us=20000 window_us=20000 depth=6000\n");
  const Found found = find(fake);
  Source& source = *found.sources.front();
  const ChannelInfo& instant = source.channels().front();
  REQUIRE(instant.name == "gpu-0-instant");
  CHECK(instant.update_period_ns == 20 * kMs);
  // As much is unseen, per second, as of the readings that are documented.
  CHECK(instant.blind_joules == doctest::Approx(0.75 * 0.02 * 700.0));

  std::vector<Reading> readings(source.channels().size());
  const auto calls = fake.calls("nvmlDeviceGetSamples");
  int news = 0;
  unsigned long long passes = 0;
  std::int64_t first_at_ns = 0;
  std::int64_t last_at_ns = 0;
  for (const std::int64_t deadline = now_ns() + 30'000 * kMs; news < 60 && now_ns() < deadline;) {
    const std::size_t before = allocations;
    const auto fields = fake.calls("nvmlDeviceGetFieldValues");
    const bool is_rest = source.has_more();
    source.read(readings);
    CHECK(allocations == before);
    if (!is_rest) ++passes;
    // The rest of a batch calls nothing, and says nothing of the other channels.
    CHECK(fake.calls("nvmlDeviceGetFieldValues") == fields + (is_rest ? 0 : 1));
    CHECK(readings.back().status == (is_rest ? ReadStatus::kNoNews : ReadStatus::kOk));
    const Reading& reading = readings.front();
    if (reading.status == ReadStatus::kOk) {
      ++news;
      CHECK(reading.at_ns > last_at_ns);
      CHECK(reading.at_ns <= now_ns());
      if (first_at_ns == 0) {
        first_at_ns = reading.at_ns;
        CHECK(reading.count == 0);
      } else {
        // To a microsecond of the stamps.
        CHECK(static_cast<double>(reading.count) * 1e-6 ==
              doctest::Approx(300.0 * static_cast<double>(reading.at_ns - first_at_ns) * 1e-9).epsilon(0.001));
        CHECK((reading.at_ns - last_at_ns + kMs) / (20 * kMs) == 1);
      }
      last_at_ns = reading.at_ns;
    } else {
      CHECK(reading.status == ReadStatus::kNoNews);
    }
    if (!source.has_more()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  CHECK(news == 60);
  // About one call for four readings.
  CHECK(fake.calls("nvmlDeviceGetSamples") - calls <= 20);
  CHECK(passes > 20);
}

TEST_CASE("a buffer that fails says so, as any reading") {
  const FakeLibrary fake(FAKE_NVML, R"(
start_ns 1
board
  wave 0 1000000:300000
  buffer period_us=20000 depth=120
)");
  const Found found = find(fake);
  Source& source = *found.sources.front();
  std::vector<Reading> readings(source.channels().size());
  source.read(readings);
  REQUIRE(readings.front().status == ReadStatus::kOk);
  fake.script(
      "start_ns 1\nboard\n wave 0 1000000:300000\n buffer period_us=20000 depth=120\n fault code=15 "
      "function=nvmlDeviceGetSamples\n");
  for (const std::int64_t deadline = now_ns() + 30'000 * kMs;
       readings.front().status != ReadStatus::kGone && now_ns() < deadline;) {
    source.read(readings);
  }
  CHECK(readings.front().status == ReadStatus::kGone);
  CHECK(readings.back().status == ReadStatus::kOk);
}
