// SPDX-License-Identifier: MIT
#include "sources/nvml_sensors.hpp"

#include <doctest/doctest.h>

using namespace powerprobe;

namespace {
constexpr std::int64_t kMs = 1'000'000;
}

TEST_CASE("each generation has what is published of it") {
  struct Case {
    const char* board;
    int major, minor, driver;
    int instant_period, instant_window, average_period, average_window;
    bool usage_is_average;
    int counter_period;
  };
  const Case cases[] = {
      {"Tesla K10", 3, 0, 470, 15, 0, 15, 0, false, 100},
      {"Tesla K40m", 3, 5, 470, 100, 0, 100, 0, false, 100},
      {"Tesla M40", 5, 2, 470, 100, 0, 100, 0, false, 100},
      {"Tesla P100", 6, 0, 535, 20, 10, 20, 10, false, 20},
      {"Tesla V100", 7, 0, 535, 20, 10, 20, 10, false, 20},
      {"Tesla T4", 7, 5, 535, 100, 100, 100, 100, false, 100},
      {"NVIDIA A100-SXM4-40GB", 8, 0, 550, 100, 25, 100, 25, false, 100},
      {"NVIDIA GeForce RTX 3090", 8, 6, 525, 100, 100, 100, 1000, true, 100},
      {"NVIDIA GeForce RTX 3090", 8, 6, 530, 100, 100, 100, 100, true, 100},
      {"NVIDIA GeForce RTX 3090", 8, 6, 535, 100, 100, 100, 1000, true, 100},
      {"NVIDIA GeForce RTX 4090", 8, 9, 0, 100, 100, 100, 1000, true, 100},
      {"NVIDIA H100 80GB HBM3", 9, 0, 535, 100, 25, 100, 1000, true, 100},
      {"NVIDIA GH200 480GB", 9, 0, 550, 100, 20, 100, 1000, true, 100},
      {"NVIDIA B200", 10, 0, 570, 100, 25, 100, 1000, true, 100},
      {"NVIDIA GeForce RTX 5090", 12, 0, 570, 100, 25, 100, 1000, true, 100},
      {"no capability", 0, 0, 550, 100, 25, 100, 1000, true, 100},
  };
  for (const Case& c : cases) {
    CAPTURE(c.board);
    CAPTURE(c.driver);
    const NvmlSensors sensors = nvml_sensors(c.major, c.minor, c.driver, c.board);
    CHECK(sensors.instant.period_ns == c.instant_period * kMs);
    CHECK(sensors.instant.window_ns == c.instant_window * kMs);
    CHECK(sensors.average.period_ns == c.average_period * kMs);
    CHECK(sensors.average.window_ns == c.average_window * kMs);
    CHECK(sensors.usage_is_average == c.usage_is_average);
    CHECK(sensors.counter_period_ns == c.counter_period * kMs);
  }
}

TEST_CASE("a window that is shorter than the period, and known, is part-time") {
  CHECK(NvmlTiming{100 * kMs, 25 * kMs}.is_part_time());
  CHECK_FALSE(NvmlTiming{100 * kMs, 100 * kMs}.is_part_time());
  CHECK_FALSE(NvmlTiming{100 * kMs, 1000 * kMs}.is_part_time());
  CHECK_FALSE(NvmlTiming{100 * kMs, 0}.is_part_time());
}
