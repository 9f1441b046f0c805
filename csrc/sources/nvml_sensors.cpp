// SPDX-License-Identifier: MIT
#include "sources/nvml_sensors.hpp"

#include <array>

namespace powerprobe {
namespace {

constexpr std::int64_t kMs = 1'000'000;

struct Row {
  int capability;  // from this one on, 10 * major + minor
  int driver;      // from this one on
  NvmlSensors sensors;
};

constexpr NvmlTiming timing(std::int64_t period_ms, std::int64_t window_ms) { return {period_ms * kMs, window_ms * kMs}; }

// Periods and windows: Yang, Adamek, Armour, "Part-time Power Measurements: nvidia-smi's Lack of Attention", SC24, table of all
// boards (Overall_Results.xlsx). What GetPowerUsage means, and which boards have the averaged reading: nvml.h 13.5, comments of
// nvmlDeviceGetPowerUsage and of the fields 185 and 186. The counter's period: ML.ENERGY and others saw about 100 ms, on Volta
// 20 ms. Nothing is published for Blackwell and later: taken as GH100.
constexpr std::array kRows = {
    Row{0, 0, {timing(15, 0), timing(15, 0), false, 100 * kMs}},         // Fermi, GK104
    Row{35, 0, {timing(100, 0), timing(100, 0), false, 100 * kMs}},      // GK110, Maxwell
    Row{60, 0, {timing(20, 10), timing(20, 10), false, 20 * kMs}},       // Pascal, Volta
    Row{75, 0, {timing(100, 100), timing(100, 100), false, 100 * kMs}},  // Turing
    Row{80, 0, {timing(100, 25), timing(100, 25), false, 100 * kMs}},    // GA100
    Row{86, 0, {timing(100, 100), timing(100, 1000), true, 100 * kMs}},  // GA10x, Ada
    Row{86, 530, {timing(100, 100), timing(100, 100), true, 100 * kMs}},
    Row{86, 531, {timing(100, 100), timing(100, 1000), true, 100 * kMs}},
    Row{90, 0, {timing(100, 25), timing(100, 1000), true, 100 * kMs}},  // GH100 and later
};
constexpr NvmlTiming kSuperchipInstant = timing(100, 20);  // GH200's GPU

}  // namespace

NvmlSensors nvml_sensors(int major, int minor, int driver, std::string_view model) {
  const int capability = 10 * major + minor;
  const NvmlSensors* found = &kRows.back().sensors;  // no capability at all: a board newer than the table, or a broken call
  if (major > 0) {
    for (const Row& row : kRows) {
      if (capability >= row.capability && (driver >= row.driver || driver <= 0)) found = &row.sensors;
    }
  }
  NvmlSensors sensors = *found;
  if (major == 9 && model.find("GH200") != std::string_view::npos) sensors.instant = kSuperchipInstant;
  return sensors;
}

}  // namespace powerprobe
