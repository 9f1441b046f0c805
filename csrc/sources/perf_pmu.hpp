// SPDX-License-Identifier: MIT
// What the kernel says in /sys/bus/event_source/devices/<pmu> about a PMU: how its events are opened and what they
// count. Read while opening, on the caller's thread. Whatever is not as the kernel documents it throws Error with the
// file's path.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace powerprobe {

struct Pmu {
  std::filesystem::path folder;
  std::string name;
  std::uint32_t type = 0;
  std::vector<int> cpus;            // one per instance of its counters: the CPUs that its events are opened on
  std::vector<std::string> events;  // names, sorted
};

struct PmuEvent {
  std::uint64_t config = 0;
  double scale = 0.0;  // units per count
  std::string unit;    // "Joules"
};

Pmu read_pmu(const std::filesystem::path& folder);
PmuEvent read_pmu_event(const Pmu& pmu, const std::string& event);

}  // namespace powerprobe
