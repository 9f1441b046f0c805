// SPDX-License-Identifier: MIT
// The one clock: CLOCK_MONOTONIC in nanoseconds. Every stamp, deadline and question is on it.
#pragma once

#include <cstdint>
#include <ctime>

namespace powerprobe {

inline std::int64_t now_ns() noexcept {
  timespec t;
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + t.tv_nsec;
}

// CPU time that the calling thread has used, user and system.
std::int64_t thread_cpu_ns() noexcept;

}  // namespace powerprobe
