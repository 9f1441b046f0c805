// SPDX-License-Identifier: MIT
// Watts per CPU by micro-architecture, as published, and which processor is of which micro-architecture. Plain data,
// used while opening sources.
#pragma once

#include <span>
#include <string>

#include "sources/cpuinfo.hpp"

namespace powerprobe {

// A published row. A CPU is what the scheduler calls one: a hardware thread.
struct CpuWatts {
  const char* architecture;
  double idle_watts;  // per CPU of a server that does nothing
  double busy_watts;  // per CPU of one with all of them at work
};

std::span<const CpuWatts> published_cpu_watts();

// Who published them when, and under what licence.
extern const char* const kCpuWattsSource;

// The row of a processor, or null where none was published.
const CpuWatts* published_cpu_watts(const CpuIdentity& cpu);

// What the estimate of a processor is made of.
struct CpuCoefficients {
  std::string architecture;  // empty: not known
  // Per CPU. Of the processor's own row, or the medians of all rows.
  double idle_watts = 0.0;
  double busy_watts = 0.0;
  // Per CPU: the published range. Of the processor's own row, or from the lowest to the highest of all rows.
  double low_watts = 0.0;
  double high_watts = 0.0;
};

CpuCoefficients cpu_coefficients(const CpuIdentity& cpu);

}  // namespace powerprobe
