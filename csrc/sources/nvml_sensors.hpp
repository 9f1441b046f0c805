// SPDX-License-Identifier: MIT
// What is published about the power readings of each generation of boards: how often they are updated and what they are means
// of. Plain data, used while opening sources.
#pragma once

#include <cstdint>
#include <string_view>

namespace powerprobe {

// Of a reading or a counter. A window shorter than the period: the sensor looks only part of the time.
struct NvmlTiming {
  std::int64_t period_ns = 0;
  std::int64_t window_ns = 0;  // 0: not a mean over a window that is known (Kepler and Maxwell smooth exponentially)
  [[nodiscard]] bool is_part_time() const noexcept { return window_ns > 0 && window_ns < period_ns; }
};

struct NvmlSensors {
  NvmlTiming instant;
  NvmlTiming average;
  bool usage_is_average = false;  // what nvmlDeviceGetPowerUsage means: the averaged reading, or the instant one
  std::int64_t counter_period_ns = 0;
};

// By compute capability and the major number of the driver's version (0: not known); a superchip is told by the board's name.
// These are expectations: how often a counter moves is seen by the sampler, and boards of a kind that is not in the table are
// taken for the newest that is.
NvmlSensors nvml_sensors(int major, int minor, int driver, std::string_view model);

}  // namespace powerprobe
