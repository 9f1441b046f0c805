// SPDX-License-Identifier: MIT
// Why the kernel refused a perf event to this process, and the smallest thing that would change that. Used while
// opening.
#pragma once

#include <filesystem>
#include <string>

namespace powerprobe {

struct PerfDenial {
  std::string reason;
  std::string remedy;  // empty when nothing helps
};

// `error` is what perf_event_open gave for an event that counts on a CPU; `proc` tells the level and this process's
// rights.
PerfDenial explain_perf_error(int error, const std::filesystem::path& proc);

}  // namespace powerprobe
