// SPDX-License-Identifier: MIT
// A machine that takes one watt, for tests: a folder that describes a `power` PMU with the number of the kernel's real
// `msr` PMU and a scale of one joule per second of TSC. What is opened by it are real perf events, and their truth is
// the clock.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <optional>
#include <string>

#include "sources/found.hpp"
#include "sources/perf_event.hpp"
#include "sources/sysfs.hpp"
#include "tree.hpp"

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace one_watt {

// Folders that look like /sys and /proc, with what perf sources ask for.
class Tree : public powerprobe::Tree {
 public:
  void remove(const std::string& name) const { std::filesystem::remove_all(path(name)); }

  void cpu(int number, int package, int die, int core) const {
    const std::string folder = "sys/devices/system/cpu/cpu" + std::to_string(number) + "/topology/";
    write(folder + "physical_package_id", std::to_string(package));
    write(folder + "die_id", std::to_string(die));
    write(folder + "core_id", std::to_string(core));
  }

  // events/<event> of a PMU that has `type` and `cpumask` already.
  void event(const std::string& pmu, const std::string& event, const std::string& config, double scale) const {
    const std::string file = devices() + pmu + "/events/" + event;
    char text[64];
    std::snprintf(text, sizeof(text), "%.17g", scale);
    write(file, config);
    write(file + ".scale", text);
    write(file + ".unit", "Joules");
  }

  void pmu(const std::string& name, std::uint32_t type, const std::string& cpumask) const {
    write(devices() + name + "/type", std::to_string(type));
    write(devices() + name + "/cpumask", cpumask);
    write(devices() + name + "/format/event", "config:0-7");
    std::filesystem::create_directories(path(devices() + name + "/events"));
  }

  [[nodiscard]] static std::string devices() { return "sys/bus/event_source/devices/"; }
  [[nodiscard]] std::filesystem::path path(const std::string& name) const { return root() / name; }
  [[nodiscard]] powerprobe::Roots roots() const { return {root() / "sys", root() / "dev", root() / "proc"}; }
};

constexpr const char* kTsc = "event=0x00";
constexpr const char* kSmi = "event=0x04";  // system management interrupts: a counter that stands still

// An event of the kernel's own that counts nothing at all (PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY).
inline powerprobe::PerfEvent dummy(int cpu) { return {1, 9, cpu}; }

inline std::int64_t raw_clock_ns() {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC_RAW, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

// The kernel's number for the `msr` PMU; 0 where there is none.
inline std::uint32_t msr_type() {
  const auto text = powerprobe::try_read_text("/sys/bus/event_source/devices/msr/type");
  return text ? static_cast<std::uint32_t>(powerprobe::parse_u64(*text).value_or(0)) : 0;
}

// Why this machine cannot be the reference; nothing when it can.
inline std::optional<std::string> missing() {
#if defined(__x86_64__)
  if (msr_type() == 0) return "this kernel has no msr PMU (/sys/bus/event_source/devices/msr)";
  powerprobe::PerfEvents events;
  if (const int error = events.add({msr_type(), 0, 0})) {
    return std::string("the msr PMU may not be used here: ") + std::strerror(error);
  }
  return std::nullopt;
#else
  return "only x86 has the msr PMU";
#endif
}

// The same for kSmi, which only Intel's processors have.
inline std::optional<std::string> missing_smi() {
  if (const auto reason = missing()) return reason;
  powerprobe::PerfEvents events;
  if (events.add({msr_type(), 4, 0}) == 0) return std::nullopt;
  return "this processor does not count system management interrupts, the one event of the msr PMU that stands still";
}

// TSC ticks per second, from the instruction itself and not by way of what is tested. The narrowest of some brackets.
inline double tsc_hz() {
#if defined(__x86_64__)
  struct Mark {
    std::int64_t ns = 0;
    std::uint64_t tsc = 0;
  };
  const auto mark = [] {
    Mark best;
    std::int64_t narrowest = INT64_MAX;
    for (int i = 0; i < 50; ++i) {
      const std::int64_t before = raw_clock_ns();
      const std::uint64_t tsc = __rdtsc();
      const std::int64_t after = raw_clock_ns();
      if (after - before >= narrowest) continue;
      narrowest = after - before;
      best = {before + (after - before) / 2, tsc};
    }
    return best;
  };
  const Mark begin = mark();
  while (raw_clock_ns() - begin.ns < 200'000'000) ::usleep(1000);
  const Mark end = mark();
  return static_cast<double>(end.tsc - begin.tsc) / (static_cast<double>(end.ns - begin.ns) * 1e-9);
#else
  return 0.0;
#endif
}

}  // namespace one_watt
