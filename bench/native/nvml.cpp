// SPDX-License-Identifier: MIT
// What a reading of a GPU costs when nothing is done but the call: the limit of tracking several boards.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "pairs.hpp"
#include "sources/found.hpp"
#include "sources/nvml_api.hpp"

namespace bench {

using namespace powerprobe;

// One round: CPU time of a call that brings what a board is asked for, in turn of all boards. The library is named by the
// environment (POWERPROBE_BENCH_NVML), because benchmarks have no arguments.
int nvml_calls(int rounds) {
  constexpr int kCalls = 4'000;
  Roots roots;
  if (const char* path = std::getenv("POWERPROBE_BENCH_NVML")) roots.nvml = path;
  const auto api = open_nvml(roots);
  unsigned int count = 0;
  if (api->count(&count) != nvml::kSuccess || count == 0 || api->field_values == nullptr) {
    throw Error(ErrorKind::kUnavailable, "no board, or one whose driver knows no field values", roots.nvml);
  }
  std::vector<NvmlDevice> boards(count);
  for (unsigned int i = 0; i < count; ++i) (void)api->device(i, &boards[i]);
  std::printf("{\"what\": \"nvmlDeviceGetFieldValues of three fields, %u boards\"}\n", count);
  for (int round = 0; round < rounds; ++round) {
    const std::int64_t before_ns = thread_cpu_ns();
    for (int i = 0; i < kCalls; ++i) {
      std::array<NvmlFieldValue, 3> entries{};
      entries[0].field = nvml::kFieldPowerInstant;
      entries[1].field = nvml::kFieldPowerAverage;
      entries[2].field = nvml::kFieldEnergy;
      (void)api->field_values(boards[static_cast<std::size_t>(i) % count], 3, entries.data());
    }
    std::printf("{\"cpu_ns\": %.1f}\n", static_cast<double>(thread_cpu_ns() - before_ns) / kCalls);
  }
  return 0;
}

}  // namespace bench
